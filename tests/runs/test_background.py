"""Backgrounds through the commands: what is mutated, shards, resuming, a VCF, the GC of regions."""

from __future__ import annotations

import collections
import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_world import World, contents, make_world, same_date
from small_models import Linear, fixed, one_hot
from toy import LENGTH
from variant_world import bcftools

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import run
from kipoi_mcdropout.effects.columns import BACKGROUND_STATISTICS, Q_EMPIRICAL
from kipoi_mcdropout.errors import InputWarning
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.runs.background.units import background_units
from kipoi_mcdropout.runs.compute import Unit

COLUMNS = [*BACKGROUND_STATISTICS, Q_EMPIRICAL]
ISM_FILES = ["out.h5", "out.tsv", "out.parquet"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    same_date(monkeypatch)
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 20)
    made = make_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    return made


def background(world: World, *words: str, output: str = "null.parquet") -> Path:
    data = ["-f", str(world.fasta), "--regions", str(world.bed), "--model_input", "seq"]
    command = [*world.model_words, *data, "--n_draws", "3", "--n_effects", "150", "--per_window", "10"]
    path = world.folder / output
    run("background", "kipoi mcdropout background", [*command, *words, "-o", str(path)])
    return path


def in_folder(world: World, name: str) -> None:
    (world.folder / name).mkdir(exist_ok=True)
    os.chdir(world.folder / name)


def ism(world: World, folder: str, *words: str) -> None:
    in_folder(world, folder)
    null = str(world.folder / "null.parquet")
    world.ism("-s", "diff", "logit", "--background", null, *words, "-o", *ISM_FILES)


def test_what_is_mutated(world: World) -> None:
    """150 different substitutions of 15 windows, which are shuffles of the regions in turn."""
    table = pd.read_parquet(background(world))
    one = table[table["output"] == "DNase"]
    assert len(one) == 150
    assert not one.duplicated(["sequence", "position", "alt"]).any()
    assert (one["ref"] != one["alt"]).all()
    assert one["chrom"].isna().all()
    per_region = one.groupby("sequence")["name"].first().str.split("_shuffled").str[0].value_counts()
    assert len(per_region) == 7
    assert set(per_region) == {2, 3}
    assert one["position"].nunique() > LENGTH / 2
    record = read_provenance(world.folder / "null.parquet")
    assert record["options"]["background_of"] == {
        "windows": "dinucleotide shuffles", "n_effects": 150, "n_windows": 15, "sample_seed": 0,
    }  # fmt: skip


def dinucleotides(bases: str) -> collections.Counter[str]:
    return collections.Counter(a + b for a, b in itertools.pairwise(bases))


def test_the_windows_are_shuffles_of_the_regions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    units: list[Unit] = []

    def spy(*args: object) -> object:
        for unit in background_units(*args):  # type: ignore[arg-type]
            units.append(unit)
            yield unit

    monkeypatch.setattr("kipoi_mcdropout.runs.background.make.background_units", spy)
    background(world)
    genome = world.fasta.read_text().split("\n")[1].upper()
    regions = {f"region{i}": genome[i * LENGTH : (i + 1) * LENGTH] for i in range(7)}
    changed = 0
    for unit in units:
        x = unit.load().inputs["seq"][0]
        bases = "".join("ACGT"[code] for code in x.argmax(axis=1))
        source = regions[unit.item.name.split("_shuffled")[0]]
        assert dinucleotides(bases) == dinucleotides(source)
        changed += bases != source
    assert len(units) == 15
    assert changed > 10
    assert len({unit.load().inputs["seq"].tobytes() for unit in units}) > 10


def test_few_positions_need_more_windows(world: World) -> None:
    """Two positions have six substitutions."""
    table = pd.read_parquet(background(world, "--start", "5", "--end", "7"))
    one = table[table["output"] == "DNase"]
    assert len(one) == 150
    assert one["sequence"].nunique() == 25
    assert set(one["position"]) == {5, 6}


def test_windows_of_n_give_fewer_effects() -> None:
    """Six of eight positions have no base in half of the windows."""
    x = one_hot(8)
    x[::2, :, 10:] = 0
    net = mcd.Model(fixed(Linear(1)), outputs=["a"], input_shape=(4, 40))
    options = mcd.BackgroundOptions(n_effects=160, per_window=20, start=8, end=16)
    with pytest.warns(InputWarning, match="has 104 substitutions, and not the 160"):
        found = mcd.background(net, x, n_draws=2, options=options)
    assert len(found.scores["diff"][0]) == 104


def test_a_background_in_memory(world: World) -> None:
    null = background(world)
    data = {"fasta": world.fasta, "regions": world.bed, "n_draws": 3}
    net = mcd.Model(mcd.load_kipoi_model(str(world.model), "dir"), model_input="seq")
    few = mcd.BackgroundOptions(n_effects=150, per_window=10)
    kept = mcd.background(net, **data, options=few)
    tables = [
        mcd.ism(net, **data, options=mcd.MutationOptions(background=source)).table()
        for source in (null, kept)
    ]
    pd.testing.assert_frame_equal(*tables)


def test_the_seed_of_the_sample_and_that_of_the_masks(world: World) -> None:
    def read(name: str, *words: str) -> pd.DataFrame:
        return pd.read_parquet(background(world, *words, output=name)).drop(columns="effect_draws")

    first = read("1.parquet")
    pd.testing.assert_frame_equal(first, read("2.parquet"))
    place = ["sequence", "position", "alt"]
    masks, sample = read("3.parquet", "--seed", "5"), read("4.parquet", "--sample_seed", "5")
    pd.testing.assert_frame_equal(first[[*place, "effect_point"]], masks[[*place, "effect_point"]])
    assert (first["effect_mean"] != masks["effect_mean"]).any()
    assert (first[place] != sample[place]).any(axis=None)


def test_shards_and_a_resumed_run_have_the_same_numbers(world: World) -> None:
    background(world, "--scores", "diff", "logit")
    ism(world, "whole")
    whole = contents(world.folder / "whole", ISM_FILES)
    for i in (2, 3, 1):
        ism(world, "sharded", "--shard", f"{i}/3")
    run("merge", "kipoi mcdropout merge", [str(world.folder / "sharded/out.h5.shards")])
    assert contents(world.folder / "sharded", ISM_FILES) == whole
    world.set_trap("raise")
    with pytest.raises(SystemExit):
        ism(world, "resumed")
    world.remove_trap()
    assert list((world.folder / "resumed").glob(".*units/*.unit"))
    ism(world, "resumed", "--resume")
    table = mcd.read(world.folder / "whole/out.parquet").table()
    for name in ISM_FILES:  # the trap is in the code, so that the record says more about the engine
        pd.testing.assert_frame_equal(mcd.read(world.folder / "resumed" / name).table(), table)
    for _, rows in table.groupby(["score", "output"]):
        assert rows["q_empirical"].max() <= 1
        assert (rows["q_empirical"] >= rows["p_empirical"] * (1 - 1e-6)).all()


def test_another_background_is_another_run(world: World) -> None:
    background(world, "--scores", "diff", "logit")
    world.set_trap("raise")
    with pytest.raises(SystemExit):
        ism(world, "resumed")
    world.remove_trap()
    background(world, "--scores", "diff", "logit", "--sample_seed", "1", "--overwrite")
    with pytest.raises(SystemExit) as stop:
        ism(world, "resumed", "--resume")
    assert stop.value.code == 2


def test_significance_after_the_run(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    background(world, "--scores", "diff", "logit")
    ism(world, "whole", "--keep_draws")
    with_it = mcd.read(world.folder / "whole/out.h5").table()
    world.ism("-s", "diff", "logit", "--keep_draws", "-o", "plain.h5", "plain.tsv")
    null = ["--background", str(world.folder / "null.parquet")]
    for source, output in (("plain.h5", "after.tsv"), ("plain.h5", "after.parquet")):
        run("significance", "kipoi mcdropout significance", [source, *null, "-o", output])
        after = mcd.read(output)
        assert "background" in after.provenance["files"]
        pd.testing.assert_frame_equal(after.table()[COLUMNS], with_it[COLUMNS])
    capsys.readouterr()
    run("significance", "kipoi mcdropout significance", ["plain.tsv", *null, "-o", "-"])
    said = capsys.readouterr()
    assert "percentile_sd and percentile_signed_sd are left out" in said.err
    header = said.out.splitlines()[1].split("\t")
    assert set(COLUMNS) - set(header) == {"percentile_sd", "percentile_signed_sd"}


def score(world: World, folder: str, *words: str) -> pd.DataFrame:
    in_folder(world, folder)
    null = ["--background", str(world.folder / "null.parquet")]
    world.score_variants(*null, "-o", "out.vcf.gz", "-t", "t.parquet", *words)
    return mcd.read("t.parquet").table() if "--shard" not in words else pd.DataFrame()


def test_a_vcf(world: World) -> None:
    background(world, "--for_variants")
    table = score(world, "whole")
    after = mcd.read("t.parquet").significance(world.folder / "null.parquet")
    kept = [name for name in COLUMNS if not name.endswith("_sd")]
    pd.testing.assert_frame_equal(after[kept], table[kept])
    snv = (table["kind"] == "snv").to_numpy()
    assert 0 < snv.sum() < len(snv)
    assert np.isnan(table["p_empirical"]).tolist() == (~snv).tolist()
    assert table["percentile"].notna().all()
    ledger = read_provenance(Path("t.parquet"))["ledger"]
    assert ledger["alleles"] == len(table) / 3 + sum(ledger["skipped"].values())
    for i in (1, 2):
        score(world, "sharded", "--shard", f"{i}/2")
    run("merge", "kipoi mcdropout merge", [str(world.folder / "sharded/out.vcf.gz.shards")])
    files = ["out.vcf.gz", "t.parquet"]
    assert contents(world.folder / "sharded", files) == contents(world.folder / "whole", files)


def test_the_vcf_is_read_back_by_bcftools(world: World) -> None:
    background(world, "--for_variants")
    table = score(world, "whole")
    names = ("p_empirical", "percentile", "percentile_sd", "sign_probability")
    query = "%POS\t%ALT" + "".join(f"\t%INFO/MCD_diff_DNase_{name}" for name in names) + "\n"
    lines = [line.split("\t") for line in bcftools("query", "-f", query, "out.vcf.gz").splitlines()]
    found = {(int(pos), alt): values for pos, alt, *values in lines}
    own = table[table["output"] == "DNase"].set_index(["pos", "alt"])
    assert len(own) > 50
    for key, row in own.iterrows():
        values = [float("nan") if text == "." else float(text) for text in found[key]]
        assert values == pytest.approx([row[name] for name in names], rel=1e-5, nan_ok=True)
    skipped = set(found) - set(own.index)
    assert skipped
    assert all(set(found[key]) == {"."} for key in skipped)


def test_a_vcf_needs_the_middle_of_the_window(world: World) -> None:
    background(world, "--end", "20")
    with pytest.raises(SystemExit) as stop:
        score(world, "whole")
    assert stop.value.code == 2


def test_statistics_of_a_background_need_one(world: World) -> None:
    with pytest.raises(SystemExit) as stop:
        world.score_variants("--vcf_statistics", "p_empirical", "-o", "out.vcf")
    assert stop.value.code == 2


def test_windows_matched_for_gc(tmp_path: Path) -> None:
    """Half of the genome has much GC. The regions lie there, and so do the windows."""
    pytest.importorskip("bioframe")
    random = np.random.default_rng(0)
    poor = random.choice(list("ACGT"), 3000, p=[0.4, 0.1, 0.1, 0.4])
    rich = random.choice(list("ACGT"), 3000, p=[0.1, 0.4, 0.4, 0.1])
    genome = "".join([*poor, *rich])
    (tmp_path / "g.fa").write_text(f">c\n{genome}\n")
    starts = range(3100, 5900, 200)
    (tmp_path / "r.bed").write_text("".join(f"c\t{i}\t{i + 40}\n" for i in starts))
    model = mcd.Model(fixed(Linear(1)), outputs=["a"], input_shape=(4, 40))
    options = mcd.BackgroundOptions(n_effects=300, per_window=10, from_regions=True)
    output = tmp_path / "null.parquet"
    mcd.background(
        model, fasta=tmp_path / "g.fa", regions=tmp_path / "r.bed", n_draws=2, options=options,
        output=output,
    )  # fmt: skip
    table = mcd.read(output).table()
    assert len(table) == 300
    windows = table.groupby("sequence")["pos"].agg(["min", "max"])
    assert len(windows) == 30
    assert (windows["min"] > 2950).all()
    for low, high in windows.itertuples(index=False):
        assert not any(low < start + 40 and start < high for start in starts)
    record = read_provenance(output)
    assert record["options"]["background_of"]["windows"] == "regions of the genome, matched for GC"
    assert set(record["files"]) >= {"fasta_file", "regions"}
