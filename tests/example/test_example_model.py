"""The example: its model loads by stock Kipoi and has learnt the truth that was planted.

The bars below are set under the figures of example/data/evaluation.json.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from paths import ROOT

kipoi = pytest.importorskip("kipoi")
torch = pytest.importorskip("torch")

EXAMPLE = ROOT / "example"
DATA = EXAMPLE / "data"
MODULES = ("motifs", "truth", "simulate", "synthetic_genome", "regions", "variants", "files", "evaluate")
# Measured here: logits 0.94 to 0.96, effects in sites 0.81 to 0.95, slope 0.70 (0.7 was planted).
MIN_CORRELATION = 0.90
MIN_EFFECT_CORRELATION = 0.72
SLOPE_TOLERANCE = 0.07
CASES = {"lower": "acgtn", "upper": "ACGTN"}


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The example's own modules; they are scripts beside each other, not a package."""
    sys.path.insert(0, str(EXAMPLE))
    before = {name: sys.modules.pop(name, None) for name in MODULES}
    loaded: dict[str, ModuleType] = {name: __import__(name) for name in MODULES}
    sys.path.remove(str(EXAMPLE))
    yield SimpleNamespace(**loaded)
    for name, module in before.items():
        sys.modules.pop(name)
        if module is not None:
            sys.modules[name] = module


@pytest.fixture(scope="module")
def model() -> Any:
    return kipoi.get_model(str(EXAMPLE / "model"), source="dir")


@pytest.fixture(scope="module")
def genome(example: Any) -> Any:
    seed = json.loads((DATA / "truth.json").read_text())["seed"]
    return example.synthetic_genome.synthetic_genome(np.random.RandomState(seed))


@pytest.fixture(scope="module")
def dataset(model: Any) -> Any:
    return model.default_dataloader(
        fasta_file=str(DATA / "genome.fa"), intervals_file=str(DATA / "regions.bed")
    )


def _logit(probability: np.ndarray) -> np.ndarray:
    return np.log(probability) - np.log1p(-probability)


def _predict(model: Any, example: Any, sequences: list[str]) -> np.ndarray:
    codes = np.stack([example.truth.encode(sequence) for sequence in sequences])
    one_hot = example.evaluate.one_hot(codes).numpy()
    with torch.inference_mode():
        return model.predict_on_batch({"seq": one_hot}).astype(np.float64)


def _reverse_complement(sequence: str) -> str:
    return sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))


# The files


def test_the_same_seed_gives_the_committed_files(example: Any, tmp_path: Path) -> None:
    seed = json.loads((DATA / "truth.json").read_text())["seed"]
    checksums = example.files.write_data(tmp_path, seed)
    assert len(checksums) == 7
    for name, checksum in checksums.items():
        assert hashlib.sha256((EXAMPLE / name).read_bytes()).hexdigest() == checksum, name
        assert (tmp_path / name).read_bytes() == (EXAMPLE / name).read_bytes()


def test_another_seed_gives_another_genome(example: Any, tmp_path: Path) -> None:
    example.files.write_data(tmp_path, 12)
    assert (tmp_path / "data/genome.fa").read_bytes() != (DATA / "genome.fa").read_bytes()


def test_it_is_small() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "example"], cwd=ROOT, capture_output=True, check=False
    )
    names = [name for name in tracked.stdout.decode().split("\0") if name]
    paths = [ROOT / name for name in names] or [
        path for path in EXAMPLE.rglob("*") if path.is_file() and "output" not in path.parts
    ]
    assert sum(path.stat().st_size for path in paths) < 2_200_000
    assert sum(p.stat().st_size for p in (EXAMPLE / "members").iterdir()) < 2_000_000 - 350_000
    assert (EXAMPLE / "model" / "weights.pt").stat().st_size < 1_000_000


def test_planted_sites_are_where_the_truth_file_says(example: Any, genome: Any) -> None:
    planted = json.loads((DATA / "truth.json").read_text())
    assert planted["slope_FOXA2_to_DNase"] == example.truth.SLOPE
    occupancies = [
        example.truth.site_occupancy(
            example.truth.encode(genome.contigs[element["contig"]][site["start"] : site["end"]])[
                None, :
            ],
            site["factor"],
        )[0, 0]
        for element in planted["elements"]
        for site in element["sites"]
    ]
    # The others were drawn too weak: they are in the genome, but nothing binds there.
    assert len(occupancies) > 100
    assert np.mean(np.array(occupancies) > example.regions.BOUND_OCCUPANCY) > 0.6


def test_peaks_are_bound_at_their_summits(example: Any, genome: Any) -> None:
    rows = [line.split("\t") for line in (DATA / "peaks.bed").read_text().splitlines()]
    assert len(rows) > 50
    for row in rows:
        contig, start, summit = row[0], int(row[1]), int(row[1]) + int(row[9])
        assert start <= summit < int(row[2])
        around = example.truth.encode(genome.contigs[contig][summit - 8 : summit + 8])
        assert example.truth.site_occupancy(around[None, :], "FOXA2").max() > 0.5
        window = example.truth.true_logits(genome.window(contig, summit, 500))
        assert 1 / (1 + math.exp(-window["FOXA2"])) == pytest.approx(float(row[6]), abs=1e-4)


def test_variants_are_read_by_htslib_and_agree_with_the_genome(genome: Any) -> None:
    cyvcf2 = pytest.importorskip("cyvcf2")
    vcf = cyvcf2.VCF(str(DATA / "variants.vcf"))
    assert dict(zip(vcf.seqnames, vcf.seqlens, strict=True)) == {
        name: len(sequence) for name, sequence in genome.contigs.items()
    }
    assert len(vcf.samples) == 2
    records = list(vcf)
    vcf.close()
    kinds = [record.INFO["KIND"] for record in records]
    assert 55 <= len(records) <= 65
    for kind in ("mnv", "insertion", "deletion", "multi_allelic", "delins", "contig_start", "contig_end",
                 "wrong_ref", "symbolic", "spanning_deletion", "no_alternative",
                 "unknown_ref"):  # fmt: skip
        assert kind in kinds
    for record, kind in zip(records, kinds, strict=True):
        reference = genome.contigs[record.CHROM][record.start : record.end].upper()
        if kind == "symbolic":
            assert reference[0] == record.REF
        else:
            assert (reference == record.REF) == (kind != "wrong_ref"), record.ID
    assert [r.ALT for r, kind in zip(records, kinds, strict=True) if kind == "symbolic"] == [["<DEL>"]]
    assert any("*" in record.ALT for record in records)


# The truth


def _slow_truth(example: Any, sequence: str) -> dict[str, float]:
    """The truth by its definition, letter by letter, with the numbers typed in again."""
    sites = {}
    for factor, threshold in (("FOXA2", 10.0), ("HNF4A", 11.0), ("CEBPB", 12.0)):
        matrix = example.motifs.probabilities(factor)
        total = 0.0
        for start in range(len(sequence) - len(matrix) + 1):
            word = sequence[start : start + len(matrix)].upper()
            if "N" in word:
                continue
            best = -math.inf
            for text in (word, _reverse_complement(word)):
                score = 0.0
                for row, base in zip(matrix, text, strict=True):
                    score += math.log2(row["ACGT".index(base)] / 0.25)
                best = max(best, score)
            total += 1 / (1 + math.exp(-(best - threshold) / 0.8))
        sites[factor] = total
    foxa2 = -2.0 + 2.0 * sites["FOXA2"] + 0.8 * sites["HNF4A"]
    return {
        "FOXA2": foxa2,
        "HNF4A": -2.0 + 2.0 * sites["HNF4A"],
        "CEBPB": -2.0 + 2.0 * sites["CEBPB"],
        "DNase": -0.8 + 0.7 * foxa2 + 0.8 * sites["CEBPB"] + 0.8 * sites["HNF4A"],
    }


SITES = {"FOXA2": "TGTTTACA", "HNF4A": "CAAAGTCCA", "CEBPB": "ATTGCGCAAT"}


@pytest.mark.parametrize("planted", [c for n in range(4) for c in itertools.combinations(SITES, n)])
def test_truth_is_its_definition(example: Any, planted: tuple[str, ...]) -> None:
    toy = "ggccNNcctgag" + "CGCG".join(SITES[factor] for factor in planted) + "gcgtccNagcgc"
    assert example.truth.true_logits(toy) == pytest.approx(_slow_truth(example, toy), abs=1e-9)


def test_truth_of_a_genome_window_is_its_definition(example: Any, genome: Any) -> None:
    windows = (text[i : i + 500] for text in genome.contigs.values() for i in range(0, len(text), 100))
    window = next(w for w in windows if 0 < w.count("N") < 250 and w.upper() != w)
    assert example.truth.true_logits(window) == pytest.approx(_slow_truth(example, window), abs=1e-9)


def test_truth_knows_no_strand(example: Any, genome: Any) -> None:
    window = genome.contigs["chr2"][5_000:5_500].upper()
    forward = example.truth.true_logits(window)
    assert example.truth.true_logits(_reverse_complement(window)) == pytest.approx(forward)


def test_planted_slope_holds_exactly_within_foxa2_sites(example: Any) -> None:
    """Far from any other site, a change of FOXA2 changes DNase by the slope and nothing else."""
    left, site, right = "gc" * 30, SITES["FOXA2"], "cg" * 30
    mutants = [left + site[:i] + base + site[i + 1 :] + right for i in range(8) for base in "ACGT"]
    effects = example.truth.true_effects(left + site + right, mutants)
    foxa2, dnase = effects[:, 0], effects[:, 3]
    assert np.ptp(foxa2) > 1.5
    np.testing.assert_allclose(dnase, 0.7 * foxa2, atol=1e-3)


def test_true_effects_take_indels(example: Any) -> None:
    reference = "gc" * 30 + SITES["FOXA2"] + "cg" * 30
    effects = example.truth.true_effects(reference, [reference, reference.replace("TTTA", "TA")])
    np.testing.assert_array_equal(effects[0], 0)
    assert effects[1, 0] < -1.5


# The dataloader


def _write(folder: Path, fasta: str, bed: str) -> dict[str, str]:
    (folder / "a.fa").write_text(fasta)
    (folder / "a.bed").write_text(bed)
    return {"fasta_file": str(folder / "a.fa"), "intervals_file": str(folder / "a.bed")}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_windows_are_what_the_fasta_says(model: Any, tmp_path: Path, case: str) -> None:
    sequence = "".join(case[i] for i in np.random.RandomState(0).randint(5, size=700))
    files = _write(tmp_path, f">c\n{sequence}\n", "c\t150\t650\tx\n")
    item = model.default_dataloader(**files)[0]
    seq = item["inputs"]["seq"]
    assert seq.shape == (500, 4)
    assert seq.dtype == np.float32
    for row, base in zip(seq, sequence[150:650].upper(), strict=True):
        assert row.tolist() == [float(base == letter) for letter in "ACGT"]
    assert dict(item["metadata"]["ranges"]) == {
        "chr": "c", "start": 150, "end": 650, "id": "x", "strand": "*"
    }  # fmt: skip


def test_a_window_past_the_ends_is_padded(model: Any, tmp_path: Path) -> None:
    files = _write(tmp_path, ">c\n" + "A" * 600 + "\n", "c\t400\t900\nc\t10\t110\n")
    past, before = (item["inputs"]["seq"] for item in model.default_dataloader(**files))
    assert past[:200, 0].all()
    assert not past[200:].any()
    assert before[190:, 0].all()
    assert not before[:190].any()


def test_intervals_are_resized_around_their_centre(model: Any, tmp_path: Path) -> None:
    files = _write(tmp_path, ">c\n" + "A" * 2_000 + "\n", "c\t1000\t1100\nc\t500\t1501\nc\t700\t1200\n")
    ranges = [item["metadata"]["ranges"] for item in model.default_dataloader(**files)]
    assert [(r["start"], r["end"]) for r in ranges] == [(800, 1300), (750, 1250), (700, 1200)]


def test_nothing_is_written_beside_the_fasta(model: Any, tmp_path: Path) -> None:
    files = _write(tmp_path, ">c\n" + "ACGTA" * 120 + "\n", "c\t0\t500\n")
    before = sorted(tmp_path.iterdir())
    assert model.default_dataloader(**files)[0]["inputs"]["seq"].sum() == 500
    assert sorted(tmp_path.iterdir()) == before


def test_an_index_is_used_unless_it_is_stale(model: Any, tmp_path: Path) -> None:
    import os

    files = _write(tmp_path, ">c\n" + "A" * 600 + "\n", "c\t0\t500\n")
    index = tmp_path / "a.fa.fai"
    index.write_text("c\t100\t3\t600\t601\n")  # says 100 bp: it can be told by the padding
    assert model.default_dataloader(**files)[0]["inputs"]["seq"].sum() == 100
    os.utime(index, (1, 1))
    assert model.default_dataloader(**files)[0]["inputs"]["seq"].sum() == 500
    assert index.read_text() == "c\t100\t3\t600\t601\n"


def test_comments_and_targets(model: Any, tmp_path: Path) -> None:
    bed = "# comment\ntrack name=x\n\nc\t0\t500\tx\t0.1\t0.2\t0.3\t0.4\n"
    files = _write(tmp_path, ">c\n" + "A" * 600 + "\n", bed)
    assert "targets" not in model.default_dataloader(**files)[0]
    batch = next(model.default_dataloader(**files, ignore_targets=False).batch_iter())
    np.testing.assert_allclose(batch["targets"], [[0.1, 0.2, 0.3, 0.4]], rtol=1e-6)
    assert model.default_dataloader.get_output_schema().compatible_with_batch(batch)


@pytest.mark.parametrize(
    ("bed", "message"),
    [
        ("c\t0\n", "line 1: chrom, start and end"),
        ("c\t0\t500\nc\tx\t9\n", "line 2: chrom, start and end"),
        ("c\t9\t9\n", "start < end is required; got start=9, end=9"),
        *((f"c\t{number}\t900\n", "line 1: .* whole numbers") for number in ("-1", "1e2", "1.0", "1_0")),
        ("chrX\t0\t500\n", "contig 'chrX' .* is not in .*a.fa, which has c"),
        ("c\t900\t1400\n", "past the end of c, 600 bp long"),
    ],
)
def test_bad_intervals_are_refused(model: Any, tmp_path: Path, bed: str, message: str) -> None:
    files = _write(tmp_path, ">c\n" + "A" * 600 + "\n", bed)
    with pytest.raises(ValueError, match=message):
        model.default_dataloader(**files)


def test_missing_targets_and_fasta_are_refused(model: Any, tmp_path: Path) -> None:
    files = _write(tmp_path, ">c\n" + "A" * 600 + "\n", "c\t0\t500\tx\t0.1\n")
    with pytest.raises(ValueError, match="needs 4 numbers in columns 5 to 8"):
        model.default_dataloader(**files, ignore_targets=False)
    with pytest.raises(ValueError, match="there is no file"):
        model.default_dataloader(fasta_file="nowhere.fa", intervals_file=files["intervals_file"])


# The model


def test_kipoi_test_passes(tmp_path: Path) -> None:
    launch = "import sys; from kipoi.__main__ import main; sys.argv[0] = 'kipoi'; main()"
    command = [sys.executable, "-W", "ignore", "-c", launch]
    done = subprocess.run(
        [*command, "test", str(EXAMPLE / "model"), "--source", "dir"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    for wanted in ("Successfully ran test_predict", "output_schema is compatible with model.schema"):
        assert wanted in said
    for complaint in ("WARNING", "not compatible", "not listed", "mismatch", "doc empty"):
        assert complaint not in said


def test_pipeline_predicts_probabilities(model: Any) -> None:
    files = {"fasta_file": str(DATA / "genome.fa"), "intervals_file": str(DATA / "regions.bed")}
    predictions = model.pipeline.predict(files, batch_size=3)
    assert predictions.shape == (8, 4)
    assert predictions.dtype == np.float32
    assert np.isfinite(predictions).all()
    assert ((predictions > 0) & (predictions < 1)).all()
    assert list(model.schema.targets.column_labels) == ["FOXA2", "HNF4A", "CEBPB", "DNase"]


def test_three_dropout_sites(model: Any) -> None:
    dropouts = [m.p for m in model.model.modules() if isinstance(m, torch.nn.Dropout)]
    assert dropouts == [0.2, 0.2, 0.5]
    assert not model.model.training


def test_dataloader_and_direct_encoding_agree(
    example: Any, dataset: Any, genome: Any
) -> None:
    for item in dataset:
        ranges = item["metadata"]["ranges"]
        sequence = genome.contigs[ranges["chr"]][ranges["start"] : ranges["end"]]
        codes = example.truth.encode(sequence)[None, :]
        np.testing.assert_array_equal(item["inputs"]["seq"], example.evaluate.one_hot(codes)[0])


def test_predictions_follow_the_truth(model: Any, example: Any) -> None:
    """Measured on such sequences: see correlation_of_logits in evaluation.json."""
    codes = example.simulate.training_sequences(np.random.RandomState(77), 600, 500)
    predicted = example.evaluate.predicted_logits(model.model, codes)
    true = example.truth.true_logits_of_codes(codes)
    for i, name in enumerate(example.truth.OUTPUTS):
        assert np.corrcoef(predicted[:, i], true[:, i])[0, 1] > MIN_CORRELATION, name


@pytest.fixture(scope="module")
def site_effects(model: Any, example: Any) -> dict[str, Any]:
    """Predicted and true logit effects of all substitutions in bound sites of unseen sequences."""
    codes = example.simulate.training_sequences(np.random.RandomState(78), 60, 500)
    codes = codes[(codes < 4).all(axis=1)]
    predicted, true, in_foxa2 = [], [], []
    for row in codes:
        mutants, positions = example.evaluate.all_substitutions(row)
        inside = {f: example.evaluate.in_bound_sites(row, f)[positions] for f in example.motifs.FACTORS}
        chosen = np.any(list(inside.values()), axis=0)
        both = np.concatenate([row[None, :], mutants[chosen]])
        logits = example.evaluate.predicted_logits(model.model, both)
        predicted.append(logits[1:] - logits[0])
        truth = example.truth.true_logits_of_codes(both)
        true.append(truth[1:] - truth[0])
        in_foxa2.append(inside["FOXA2"][chosen])
    columns = {name: i for i, name in enumerate(example.truth.OUTPUTS)}
    return {
        "predicted": np.concatenate(predicted),
        "true": np.concatenate(true),
        "in_foxa2": np.concatenate(in_foxa2),
        "columns": columns,
    }


@pytest.mark.parametrize("output", ["FOXA2", "HNF4A", "CEBPB", "DNase"])
def test_substitution_effects_follow_the_truth(site_effects: dict[str, Any], output: str) -> None:
    i = site_effects["columns"][output]
    assert len(site_effects["true"]) > 1_500
    correlation = np.corrcoef(site_effects["predicted"][:, i], site_effects["true"][:, i])[0, 1]
    assert correlation > MIN_EFFECT_CORRELATION


def test_the_planted_slope_is_recovered(site_effects: dict[str, Any]) -> None:
    """DNase effects on FOXA2 effects, by least squares, of substitutions in FOXA2 sites."""
    rows, columns = site_effects["in_foxa2"], site_effects["columns"]

    def slope(effects: np.ndarray) -> float:
        return np.polyfit(effects[rows, columns["FOXA2"]], effects[rows, columns["DNase"]], 1)[0]

    assert slope(site_effects["true"]) == pytest.approx(0.7, abs=0.05)
    assert slope(site_effects["predicted"]) == pytest.approx(0.7, abs=SLOPE_TOLERANCE)


def test_hnf4a_is_a_confounder(site_effects: dict[str, Any]) -> None:
    """Outside of FOXA2 sites the slope is steeper than planted, in truth and by the model."""
    rows = ~site_effects["in_foxa2"] & (np.abs(site_effects["true"][:, 1]) > 1)
    for effects in (site_effects["true"], site_effects["predicted"]):
        ratio = effects[rows, 3].mean() / effects[rows, 0].mean()
        assert ratio > 1.2


def test_a_destroyed_site_lowers_foxa2_and_dnase(model: Any, example: Any, genome: Any) -> None:
    """Each planted FOXA2 site of the example windows, its invariant base (TGT[T]TACA) replaced."""
    for region in example.regions.example_regions(genome):
        if "FOXA2" not in region.name:
            continue
        window = genome.contigs[region.contig][region.start : region.end].upper()
        codes = example.truth.encode(window)[None, :]
        occupancy = example.truth.site_occupancy(codes, "FOXA2")[0]
        start = 200 + int(np.argmax(occupancy[200:292]))  # the planted one is in the middle
        assert occupancy[start] > 0.5
        mutant = window[: start + 2] + "CGCG" + window[start + 6 :]
        true = example.truth.true_effects(window, [mutant])[0]
        reference, alternative = _logit(_predict(model, example, [window, mutant]))
        effect = alternative - reference
        for output in ("FOXA2", "DNase"):
            column = example.truth.OUTPUTS.index(output)
            assert true[column] < 0
            assert effect[column] < 0.4 * true[column], (region.name, output)


def test_runs_on_human_sequences(model: Any, shared_data: Path, tmp_path: Path) -> None:
    fasta = shared_data / "human_regions" / "hg38_chr22_32000000_32300000.fa"
    before = sorted(fasta.parent.iterdir())
    bed = tmp_path / "human.bed"
    starts = [*range(0, 299_000, 12_000), 299_900]
    bed.write_text("".join(f"chr22\t{start}\t{start + 500}\n" for start in starts))
    dataset = model.default_dataloader(fasta_file=str(fasta), intervals_file=str(bed))
    batches = list(dataset.batch_iter(batch_size=8))
    predictions = np.concatenate([model.predict_on_batch(batch["inputs"]) for batch in batches])
    assert predictions.shape == (len(starts), 4)
    assert np.isfinite(predictions).all()
    assert ((predictions >= 0) & (predictions <= 1)).all()
    assert predictions[:, 0].std() > 0.01
    one_hot = np.concatenate([batch["inputs"]["seq"] for batch in batches])
    assert (one_hot.sum(axis=(1, 2))[:-1] > 400).all()
    assert one_hot[-1].sum() <= 100
    assert sorted(fasta.parent.iterdir()) == before
