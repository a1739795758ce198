"""A genome and regions, or a FASTA of sequences, in place of a dataloader: the same numbers, bitwise."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from paths import ROOT
from toy import LENGTH, Toy, make_toy

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import cli_main, interpret_ism
from kipoi_mcdropout.files.read import read_provenance

GENOME, BED = ROOT / "example" / "data" / "genome.fa", ROOT / "example" / "data" / "regions.bed"
SHORT = ["--n_draws", "3", "--start", "240", "--end", "244"]

Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What a command has printed on stderr since the last look."""
    return lambda: capsys.readouterr().err


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The words of the three ways to the same three windows of the example."""
    folder = tmp_path_factory.mktemp("example")
    lines = BED.read_text().splitlines()[:3]
    bed, fasta = folder / "three.bed", folder / "three.fa"
    bed.write_text("\n".join(lines) + "\n")
    genome = dict(zip(*[iter(_records(GENOME))] * 2, strict=True))
    windows = []
    for line in lines:
        chrom, start, end, name = line.split("\t")
        windows.append(f">{name} of {chrom}\n{genome[chrom][int(start) : int(end)]}\n")
    fasta.write_text("".join(windows))
    data = json.dumps({"fasta_file": str(GENOME), "intervals_file": str(bed)})
    return {
        "dataloader": ["--dataloader_args", data],
        "regions": ["-f", str(GENOME), "--regions", str(bed)],
        "sequences": ["--sequences", str(fasta)],
    }


def _records(path: Path) -> list[str]:
    """Names and sequences of a FASTA, in turn; an independent reader."""
    parts = path.read_text().split(">")[1:]
    return [text for part in parts for text in (part.split()[0], "".join(part.split("\n")[1:]))]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else None
        )
    return found


def _same_arrays(one: Path, other: Path, but: tuple[str, ...] = ()) -> None:
    """Every array of two HDF5 files is the same, in type, shape and bytes."""
    a, b = (
        {name: x for name, x in _arrays(path).items() if not name.startswith(but)}
        for path in (one, other)
    )
    assert set(a) == set(b)
    assert len(a) > 3
    for name, values in a.items():
        assert values.dtype == b[name].dtype, name
        np.testing.assert_array_equal(values, b[name], err_msg=name)


def _table(path: Path, but: tuple[str, ...] = ()) -> str:
    """The text of a table without the line that says how it was made."""
    text = path.read_text().split("\n", 1)[1]
    if not but:
        return text
    table = pd.read_csv(StringIO(text), sep="\t", dtype=str, keep_default_na=False)
    return table.drop(columns=list(but)).to_csv(sep="\t", index=False)


def _fails(command: str, words: list[str], said: Said) -> str:
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", [command, *words])
    assert stop.value.code == 2
    return said().splitlines()[-1]


MODEL = str(ROOT / "example" / "model")
COMMANDS = {
    "ism": ["ism", MODEL, *SHORT, "--scores", "diff", "logit", "--keep_draws"],
    "predict": ["predict", MODEL, "--n_draws", "3", "--keep_draws"],
}
WHERE = {"ism": ("chrom", "pos", "strand"), "predict": ("chrom", "start", "end", "strand")}


@pytest.mark.parametrize("command", COMMANDS)
def test_three_ways_give_the_same_bytes(
    command: str, example: dict[str, list[str]], tmp_path: Path
) -> None:
    for way, words in example.items():
        files = [str(tmp_path / f"{way}.{end}") for end in ("h5", "tsv", "parquet")]
        cli_main("mcdropout", [*COMMANDS[command], *words, "-q", "-o", *files])
    first, regions, sequences = (tmp_path / f"{way}.h5" for way in example)
    _same_arrays(first, regions)
    _same_arrays(first, sequences, but=("metadata",))
    first, regions, sequences = (tmp_path / f"{way}.tsv" for way in example)
    assert _table(first) == _table(regions)
    assert _table(first, WHERE[command]) == _table(sequences, WHERE[command])
    assert len(_table(first).splitlines()) > 10
    one, other = (pd.read_parquet(tmp_path / f"{way}.parquet") for way in ("dataloader", "regions"))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_python_gives_what_the_command_gives(example: dict[str, list[str]], tmp_path: Path) -> None:
    model = mcd.Model(mcd_model())
    options = mcd.MutationOptions(start=240, end=244)
    for way, given in (
        ("regions", {"fasta": example["regions"][1], "regions": example["regions"][3]}),
        ("sequences", {"sequences": example["sequences"][1]}),
    ):
        cli_main(
            "mcdropout", ["ism", MODEL, *SHORT, *example[way], "-q", "-o", str(tmp_path / f"{way}.tsv")]
        )
        mcd.ism(model, n_draws=3, options=options, output=tmp_path / f"{way}2.tsv", **given)
        assert _table(tmp_path / f"{way}.tsv") == _table(tmp_path / f"{way}2.tsv")
        records = [read_provenance(tmp_path / f"{way}{i}.tsv") for i in ("", "2")]
        assert records[0]["options"]["inputs"] == records[1]["options"]["inputs"]
        assert records[0]["files"] == records[1]["files"]


def mcd_model() -> object:
    from kipoi_mcdropout.model.load import load_kipoi_model

    return load_kipoi_model(MODEL, "dir", with_dataloader=False)


def test_predictions_and_audit_in_python(example: dict[str, list[str]]) -> None:
    import kipoi

    loaded = kipoi.get_model(MODEL, source="dir")
    model = mcd.Model(loaded)
    arguments = json.loads(example["dataloader"][1])
    x = loaded.default_dataloader(**arguments).load_all()["inputs"]
    expected = mcd.mc_predict(model, x, n_draws=2).mean
    for source in (
        mcd.Regions(example["regions"][1], example["regions"][3]),
        mcd.FastaSequences(example["sequences"][1]),
    ):
        np.testing.assert_array_equal(mcd.mc_predict(model, source, n_draws=2).mean, expected)
        assert str(mcd.audit(model, source)) == str(mcd.audit(model, x))


def test_the_dataloader_is_not_needed(tmp_path: Path, said: Said) -> None:
    toy = make_toy(tmp_path / "toy")
    for name in ("dataloader.py", "dataloader.yaml"):
        (toy.model / name).unlink()
    words = [str(toy.model), "-f", str(toy.fasta), "--regions", str(toy.bed), "--n_draws", "2"]
    cli_main("mcdropout", ["predict", *words, "-q", "-o", str(tmp_path / "a.tsv")])
    assert "the order of the bases is not known from it: A, C, G, T is used" in said()
    cli_main("mcdropout", ["predict", *words, "--alphabet", "ACGT", "-q", "-o", str(tmp_path / "b.tsv")])
    assert said() == ""
    assert _table(tmp_path / "a.tsv") == _table(tmp_path / "b.tsv")


def test_audit_reads_a_window(example: dict[str, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    cli_main("mcdropout", ["audit", MODEL, "--no_plan"])
    random = capsys.readouterr()
    assert "--regions or --sequences were given: the model is probed with a random input" in random.err
    for way in ("regions", "sequences"):
        cli_main("mcdropout", ["audit", MODEL, "--no_plan", *example[way]])
        found = capsys.readouterr()
        assert found.out == random.out
        assert "random" not in found.err


def test_kipoi_interpret_takes_them_too(toy: Toy, tmp_path: Path) -> None:
    """There -f is kipoi-interpret's word for a function, which has two colons."""
    (tmp_path / "pick.py").write_text("def first(outputs):\n    return outputs[:1]\n")
    words = [str(toy.model), "--method", "mcdropout_ism", "--n_draws", "2", "-q", "--unknown", "zero"]
    files = ["-f", str(toy.fasta), "--regions", str(toy.bed)]
    function = f"{tmp_path / 'pick.py'}::first"
    for name, more in {
        "a": ["-f", function, *files],
        "b": [*files, "--output_sel_fn", function],
        "c": ["--fasta_file", str(toy.fasta), *files[2:], "-f", function],
    }.items():
        interpret_ism("ism", [*words, *more, "-o", str(tmp_path / f"{name}.tsv")])
    tables = [_table(tmp_path / f"{name}.tsv") for name in "abc"]
    assert tables[0] == tables[1] == tables[2]
    assert read_provenance(tmp_path / "a.tsv")["options"]["outputs"] == 1


def test_shards_and_a_resumed_run(toy: Toy, tmp_path: Path, said: Said) -> None:
    for way in (
        ["-f", str(toy.fasta), "--regions", str(toy.bed)],
        ["--sequences", _windows(toy, tmp_path)],
    ):
        folder = tmp_path / way[0].strip("-")
        folder.mkdir()
        words = ["ism", str(toy.model), *way, "--n_draws", "2"]
        cli_main("mcdropout", [*words, "-o", str(folder / "whole.tsv")])
        for part in ("1/2", "2/2"):
            cli_main("mcdropout", [*words, "--shard", part, "-o", str(folder / "a.tsv")])
        cli_main("mcdropout", ["merge", str(folder / "a.tsv.shards")])
        assert _table(folder / "a.tsv") == _table(folder / "whole.tsv")
        said()
        cli_main("mcdropout", [*words, "--resume", "-o", str(folder / "whole.tsv")])
        assert "already complete" in said()
        again = [*words[1:], "--unknown", "zero", "--resume", "-o", str(folder / "whole.tsv")]
        message = _fails("ism", again, said)
        assert "differ in: inputs" in message


def _windows(toy: Toy, folder: Path) -> str:
    """The three windows of the toy as a FASTA."""
    (bases,) = _records(toy.fasta)[1:]
    path = folder / "windows.fa"
    path.write_text("".join(f">region{i}\n{bases[i * LENGTH : (i + 1) * LENGTH]}\n" for i in range(3)))
    return str(path)


def test_processes_take_the_same_settings(toy: Toy, tmp_path: Path) -> None:
    words = [
        "ism",
        str(toy.model),
        "-f",
        str(toy.fasta),
        "--regions",
        str(toy.bed),
        "--n_draws",
        "2",
        "-q",
    ]
    cli_main("mcdropout", [*words, "-o", str(tmp_path / "here.tsv")])
    cli_main("mcdropout", [*words, "--scheduler", "local:1", "-o", str(tmp_path / "there.tsv")])
    assert _table(tmp_path / "here.tsv") == _table(tmp_path / "there.tsv")


def test_a_report_shows_them(toy: Toy, tmp_path: Path) -> None:
    words = [
        "ism",
        str(toy.model),
        "--sequences",
        _windows(toy, tmp_path),
        "--n_draws",
        "2",
        "--keep_draws",
    ]
    cli_main("mcdropout", [*words, "-q", "-o", str(tmp_path / "a.h5")])
    page = ["report", str(tmp_path / "a.h5"), "--no_figures", "-q", "-o", str(tmp_path / "a.html")]
    cli_main("mcdropout", page)
    text = (tmp_path / "a.html").read_text("utf-8")
    assert "windows.fa" in text
    assert "region1" in text
    which = ["--target", "DNase", "--sequence", "region1", "-q", "-o", str(tmp_path / "a.png")]
    cli_main("mcdropout", ["plot", "ism", str(tmp_path / "a.h5"), *which])
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_what_was_done_with_regions_is_said_with_numbers(toy: Toy, tmp_path: Path, said: Said) -> None:
    bed = tmp_path / "r.bed.gz"
    lines = [
        "chr1\t20\t50\ta",
        "chr1\t24\t48\tb",
        "chr1\t30\t31\tc",
        "chr1\t0\t6\td",
        "chr1\t60\t72\te\t0\t-",
    ]
    bed.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    words = ["predict", str(toy.model), "-f", str(toy.fasta), "--regions", str(bed), "--n_draws", "2"]
    cli_main("mcdropout", [*words, "-o", str(tmp_path / "a.tsv")])
    lines = said().splitlines()
    assert (
        sum(
            "4 of 5 regions were resized from 1 to 30 bp to 24 bp about their centre" in x for x in lines
        )
        == 1
    )
    assert sum("warning: 2 of 5 windows run over an end of their contig and are padded with N: d, e" in x
               for x in lines) == 1  # fmt: skip
    assert any("1 of 5 regions have strand -; their forward sequence is read" in x for x in lines)
    table = mcd_table(tmp_path / "a.tsv")
    assert table["start"].tolist()[::3] == [23, 24, 18, -9, 54]
    assert set(table["strand"]) == {"*"}
    cli_main("mcdropout", [*words, "--edge", "skip", "-o", str(tmp_path / "b.tsv")])
    assert "warning: 2 of 5 windows run over an end of their contig and are skipped: d, e" in said()
    skipped = mcd_table(tmp_path / "b.tsv")
    pd.testing.assert_frame_equal(
        skipped.drop(columns="sequence"), table[table["name"].isin(list("abc"))].drop(columns="sequence")
    )
    inputs = read_provenance(tmp_path / "b.tsv")["options"]["inputs"]
    assert (inputs["n"], inputs["resized"], inputs["skipped"]) == (5, 4, ["d", "e"])
    words = [*words[1:], "--edge", "skip", "--regions", _bed(tmp_path, "chr1\t0\t6\td"), "-o", "c.tsv"]
    assert _fails("predict", words, said).endswith(
        "skipped: d. Pad them with N (edge pad), or give other regions"
    )


def _bed(folder: Path, text: str) -> str:
    path = folder / "other.bed"
    path.write_text(text + "\n")
    return str(path)


def mcd_table(path: Path) -> pd.DataFrame:
    return pd.read_table(path, skiprows=1, dtype={"chrom": str})


def test_padding_is_n_as_the_model_was_told(toy: Toy, tmp_path: Path) -> None:
    """Against a genome that has the N: uniform and zero differ, and each is that of written N."""
    (bases,) = _records(toy.fasta)[1:]
    (tmp_path / "longer.fa").write_text(f">chr1\n{'N' * 9}{bases}\n")
    found = {}
    for unknown in ("uniform", "zero"):
        for name, fasta, bed in (
            ("edge", str(toy.fasta), "chr1\t0\t6\td"),
            ("written", str(tmp_path / "longer.fa"), "chr1\t9\t15\td"),
        ):
            words = [str(toy.model), "-f", fasta, "--regions", _bed(tmp_path, bed), "--unknown", unknown]
            path = tmp_path / f"{name}_{unknown}.tsv"
            cli_main("mcdropout", ["predict", *words, "--n_draws", "2", "-q", "-o", str(path)])
            found[name, unknown] = mcd_table(path)["mean"].tolist()
    assert found["edge", "uniform"] == found["written", "uniform"]
    assert found["edge", "zero"] == found["written", "zero"]
    assert found["edge", "zero"] != found["edge", "uniform"]


def test_names_of_contigs(toy: Toy, tmp_path: Path, said: Said) -> None:
    words = [str(toy.model), "-f", str(toy.fasta), "--n_draws", "2", "-o", str(tmp_path / "a.tsv")]
    words.append("--overwrite")
    bed = _bed(tmp_path, "1\t24\t48\tb")
    message = _fails("predict", [*words, "--regions", bed], said)
    assert "has no contigs 1; it has chr1. If they are the same contigs, give a contig map" in message
    assert "lines such as: 1 chr1" in message
    (tmp_path / "map.txt").write_text("1 chr1\n")
    cli_main(
        "mcdropout", ["predict", *words, "--regions", bed, "--contig_map", str(tmp_path / "map.txt")]
    )
    assert set(mcd_table(tmp_path / "a.tsv")["chrom"]) == {"1"}  # as the regions name it
    cli_main("mcdropout", ["predict", *words, "--regions", str(toy.bed)])
    other = _bed(tmp_path, "chr1\t24\t48\nchrZ\t24\t48\nchrY\t24\t48")
    assert "contigs chrZ, chrY of the regions are not in" in _fails(
        "predict", [*words, "--regions", other], said
    )


def test_the_strand_of_a_region(toy: Toy, tmp_path: Path) -> None:
    """With --use_strand the reverse complement is read, and positions are counted from its end."""
    (bases,) = _records(toy.fasta)[1:]
    bed = _bed(tmp_path, "chr1\t24\t48\tb\t0\t-\nchr1\t24\t48\tb\t0\t+\nchr1\t24\t48\tb\t0\t.")
    words = [str(toy.model), "-f", str(toy.fasta), "--regions", bed, "--use_strand", "--n_draws", "2"]
    cli_main("mcdropout", ["ism", *words, "--target", "DNase", "-q", "-o", str(tmp_path / "a.tsv")])
    table = mcd_table(tmp_path / "a.tsv")
    assert table.groupby("sequence")["strand"].unique().map("".join).tolist() == ["-", "+", "*"]
    complement = dict(zip("ACGT", "TGCA", strict=True))
    minus, plus = (table[table["sequence"] == i] for i in (0, 1))
    assert minus["pos"].tolist()[::3] == list(range(48, 24, -1))
    genome = bases.upper()
    assert minus["ref"].tolist() == [complement[genome[pos - 1]] for pos in minus["pos"]]
    assert plus["ref"].tolist() == [genome[pos - 1] for pos in plus["pos"]]
    reverse = "".join(complement[base] for base in genome[24:48])[::-1]
    (tmp_path / "r.fa").write_text(f">b\n{reverse}\n")
    words = [str(toy.model), "--sequences", str(tmp_path / "r.fa"), "--n_draws", "2"]
    cli_main("mcdropout", ["ism", *words, "--target", "DNase", "-q", "-o", str(tmp_path / "b.tsv")])
    expected = mcd_table(tmp_path / "b.tsv")
    assert minus["effect_mean"].tolist() == expected["effect_mean"].tolist()


FASTA_CASES = {
    "short": (
        ">a\nACGT\n",
        "must have 24 bp, the length of the model's input; sequence a (line 1) has 4 bp",
    ),
    "second": (f">a\n{'A' * 24}\n>b x\n{'A' * 25}\n", "sequence b (line 3) has 25 bp"),
    "protein": (">a\nMKVLEAAGIP\n", "sequence a (line 1) has 'L', 'E', 'I', 'P'"),
    "gap": (f">a\n{'A' * 23}-\n", "A gap is no base"),
    "both": (f">a\n{'TU' * 12}\n", "both T and U"),
    "empty": ("", "has no sequence"),
    "no bases": (f">a\n>b\n{'A' * 24}\n", "sequence a (line 1) has no bases"),
    "no fasta": ("ACGT\n", "it must begin with \">\"; got 'ACGT' in line 1"),
}


@pytest.mark.parametrize("case", FASTA_CASES)
def test_bad_sequences_are_refused_by_name(case: str, toy: Toy, tmp_path: Path, said: Said) -> None:
    text, message = FASTA_CASES[case]
    (tmp_path / "a.fa").write_text(text)
    for command in ("ism", "predict"):
        words = [str(toy.model), "--sequences", str(tmp_path / "a.fa"), "-o", str(tmp_path / "a.tsv")]
        assert message in _fails(command, words, said)
    assert not (tmp_path / "a.tsv").exists()


def test_other_letters_of_sequences(toy: Toy, tmp_path: Path, said: Said) -> None:
    """Lower case, U and the codes of several bases, against the sequence written plainly."""
    plain, odd = tmp_path / "plain.fa", tmp_path / "odd.fa.gz"
    plain.write_text(
        ">a\nTTGCATGCATNNGGCATTACGCAT\n>a\nACGTACGTACGTACGTACGTACGT\n>\nTCGTACGTACGTACGTACGTACGT\n"
    )
    text = b">a  first\nuugcaugcau\n ryggcauuacgcau\r\n\n>a\nACGTACGTACGTACGTACGTACGT\n"
    odd.write_bytes(gzip.compress(text + b">\nTCGTACGTACGTACGTACGTACGT\n"))
    for path in (plain, odd):
        cli_main("mcdropout", ["predict", str(toy.model), "--sequences", str(path), "--n_draws", "2",
                               "-o", str(tmp_path / f"{path.name}.tsv")])  # fmt: skip
    lines = said()
    assert "warning: 1 of 3 sequences have codes of IUPAC for several bases" in lines
    assert "read as N: a (line 1)" in lines
    assert "1 of 3 sequences have U, which is read as T" in lines
    assert _table(tmp_path / "plain.fa.tsv") == _table(tmp_path / "odd.fa.gz.tsv")
    assert mcd_table(tmp_path / "plain.fa.tsv")["name"].tolist()[::3] == ["a", "a", "2"]


FILES = "-f genome.fa --regions r.bed"
WORDS = {
    f"{FILES} --dataloader_args fasta_file=x": "--dataloader_args cannot be combined with --regions",
    f"{FILES} --dataloader x": "--dataloader cannot be combined with --regions",
    "--sequences s.fa --dataloader_args a=b": "--dataloader_args cannot be combined with --sequences",
    f"{FILES} --sequences s.fa": "--sequences cannot be combined with --regions",
    "-f genome.fa --sequences s.fa": "--fasta_file cannot be combined with --sequences",
    "-f genome.fa": "belong together: give both",
    "--regions r.bed": "belong together: give both",
    "--sequences s.fa --edge skip": "--edge is used with -f and --regions only",
    "--sequences s.fa --use_strand": "--use_strand is used with -f and --regions only",
    "--sequences s.fa --contig_map m.txt": "--contig_map is used with -f and --regions only",
    "--dataloader_args a=b --length 9": "--length is used with -f and --regions, or with --sequences",
    "--dataloader_args a=b --unknown zero": "--unknown is used with",
    "--dataloader_args a=b --extra_inputs {}": "--extra_inputs is used with",
    f"{FILES} --batch_size 0": "batch_size must be at least 1",
    f"{FILES} --length 9": "length must be that of the model's input, 24 bp",
    f"{FILES} --extra_inputs [1]": "(--extra_inputs) must be a JSON object",
    "-f none.fa --regions r.bed": "the genome must be a FASTA file on disk; none.fa is not there",
    "-f genome.fa --regions none.bed": "none.bed cannot be read as BED",
    "--sequences none.fa": "none.fa cannot be read as FASTA: No such file",
    "": "missing ['fasta_file', 'intervals_file']; it takes ['fasta_file', 'intervals_file']",
}


@pytest.mark.parametrize("command", ["ism", "predict", "audit"])
@pytest.mark.parametrize("words", WORDS)
def test_words_that_do_not_go_together(
    words: str, command: str, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    if command == "audit" and (not words or words.startswith("--dataloader_args a=b --length")):
        pytest.skip("audit works without any inputs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "genome.fa").write_bytes(toy.fasta.read_bytes())
    (tmp_path / "r.bed").write_bytes(toy.bed.read_bytes())
    (tmp_path / "s.fa").write_text(f">a\n{'ACGT' * 6}\n")
    output = [] if command == "audit" else ["-o", "a.tsv"]
    message = _fails(command, [str(toy.model), *words.split(), *output], said)
    assert WORDS[words] in message
    assert not (tmp_path / "a.tsv").exists()


def test_a_prediction_needs_no_encoding_of_a_dataloader(toy: Toy, tmp_path: Path, said: Said) -> None:
    data = ["--dataloader_args", json.dumps(toy.dataloader_args), "-o", str(tmp_path / "a.tsv")]
    message = _fails("predict", [str(toy.model), *data, "--alphabet", "AGCT"], said)
    assert "--alphabet is used with -f and --regions, or with --sequences only" in message


def test_an_input_is_never_replaced(toy: Toy, tmp_path: Path, said: Said) -> None:
    for name in ("genome.tsv", "regions.tsv", "sequences.tsv"):
        (tmp_path / name).write_text("kept")
    genome, regions, sequences = (
        str(tmp_path / f"{name}.tsv") for name in ("genome", "regions", "sequences")
    )
    for words, output in (
        (["-f", genome, "--regions", regions], genome), (["-f", genome, "--regions", regions], regions),
        (["--sequences", sequences], sequences),
    ):  # fmt: skip
        for command in ("ism", "predict"):
            message = _fails(command, [str(toy.model), *words, "--overwrite", "-o", output], said)
            assert "an output never replaces an input" in message
            assert Path(output).read_text() == "kept"


def test_a_network_without_a_model_folder_gives_the_same_bytes(toy: Toy, tmp_path: Path) -> None:
    """The same network, weights and windows: from a Kipoi folder with its dataloader, and from files."""
    data = json.dumps(toy.dataloader_args)
    network = [f"{toy.model / 'model.py'}:ToyNet", "--weights", str(toy.model / "weights.pt")]
    network += ["--outputs", "FOXA1", "FOXA2", "DNase", "--unknown", "zero"]
    for name, words in {
        "folder": [str(toy.model), "--dataloader_args", data],
        "regions": [*network, "-f", str(toy.fasta), "--regions", str(toy.bed)],
        "sequences": [*network, "--sequences", _windows(toy, tmp_path)],
    }.items():
        files = [str(tmp_path / f"{name}.{end}") for end in ("tsv", "h5")]
        cli_main("mcdropout", ["ism", *words, "--n_draws", "3", "--keep_draws", "-q", "-o", *files])
    folder, regions, sequences = (
        tmp_path / f"{name}.tsv" for name in ("folder", "regions", "sequences")
    )
    assert _table(folder, ("strand",)) == _table(regions, ("strand",))  # the toy's dataloader says +
    assert _table(folder, WHERE["ism"]) == _table(sequences, WHERE["ism"])
    _same_arrays(tmp_path / "folder.h5", tmp_path / "regions.h5", but=("metadata",))


def test_extra_inputs_on_the_command_line(toy: Toy, tmp_path: Path) -> None:
    code = (
        (toy.model / "model.py")
        .read_text()
        .replace("def forward(self, seq):", "def forward(self, seq, scale):")
    )
    code = code.replace("self.dense(", "scale[:, None] * self.dense(")
    (tmp_path / "net.py").write_text(code)
    words = ["-f", str(toy.fasta), "--regions", str(toy.bed), "--n_draws", "2", "-q"]
    plain = [f"{toy.model / 'model.py'}:ToyNet", "--weights", str(toy.model / "weights.pt"), *words]
    scaled = [f"{tmp_path / 'net.py'}:ToyNet", "--weights", str(toy.model / "weights.pt"), *words]
    scaled += ["--model_input", "seq", "--extra_inputs", '{"scale": 1.0}']
    for command in ("ism", "predict"):
        for name, model in (("plain", plain), ("scaled", scaled)):
            cli_main("mcdropout", [command, *model, "-o", str(tmp_path / f"{command}_{name}.tsv")])
        assert _table(tmp_path / f"{command}_plain.tsv") == _table(tmp_path / f"{command}_scaled.tsv")
    record = read_provenance(tmp_path / "ism_scaled.tsv")
    assert record["options"]["inputs"]["extra_inputs"] == {"scale": 1.0}


def test_extra_inputs_of_variants_on_the_command_line(toy: Toy, tmp_path: Path) -> None:
    code = (toy.model / "model.py").read_text()
    code = code.replace("def forward(self, seq):", "def forward(self, seq, scale):")
    (tmp_path / "net.py").write_text(code.replace("self.dense(", "scale[:, None] * self.dense("))
    name, sequence = toy.fasta.read_text().split(">", 2)[1].split("\n", 1)
    bases = sequence.replace("\n", "").upper()
    pos = next(i for i in range(60, len(bases)) if bases[i - 1] in "ACGT")
    base = bases[pos - 1]
    (tmp_path / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"{name.split()[0]}\t{pos}\t.\t{base}\t{'C' if base == 'A' else 'A'}\t.\t.\t.\n"
    )
    words = ["--weights", str(toy.model / "weights.pt"), "--length", str(LENGTH)]
    words += ["-i", str(tmp_path / "in.vcf"), "-f", str(toy.fasta), "--n_draws", "2", "-q"]
    of_net = {"plain": toy.model / "model.py", "one": tmp_path / "net.py", "two": tmp_path / "net.py"}
    for run, net in of_net.items():
        scale = json.dumps({"scale": float(run == "two") + 1})
        extra = [] if run == "plain" else ["--model_input", "seq", "--extra_inputs", scale]
        out = ["-t", str(tmp_path / f"{run}.tsv")]
        cli_main("mcdropout", ["score_variants", f"{net}:ToyNet", *words, *extra, *out])
    tables = {run: _table(tmp_path / f"{run}.tsv") for run in of_net}
    assert tables["one"] == tables["plain"] != tables["two"]
    record = read_provenance(tmp_path / "two.tsv")
    assert record["options"]["extra_inputs"] == {"scale": 2.0}
