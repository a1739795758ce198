"""The command, end to end, on a Kipoi model."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from toy import Toy, make_toy
from variant_world import body, write_vcf

from kipoi_mcdropout.cli import run
from kipoi_mcdropout.cli.commands.score_variants import main


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


def genome_of(toy: Toy) -> dict[str, str]:
    records = toy.fasta.read_text().split(">")[1:]
    return {r.split()[0]: "".join(r.split("\n")[1:]).upper() for r in records}


@pytest.fixture
def vcf(toy: Toy, tmp_path: Path) -> Path:
    name, sequence = next(iter(genome_of(toy).items()))
    base = sequence[30]
    other = "ACGT"[("ACGT".index(base) + 1) % 4]
    return write_vcf(
        tmp_path / "in.vcf",
        [f"{name} 31 . {base} {other},<DEL> . . .", f"{name} 31 . {base} {base}TT . . ."],
        {name: len(sequence)},
    )


def arguments(toy: Toy, vcf: Path, *more: str) -> list[str]:
    files = [str(toy.model), "--source", "dir", "-i", str(vcf), "-f", str(toy.fasta)]
    return [*files, "--n_draws", "4", *more]


def test_the_command_writes_vcf_and_table(
    toy: Toy, vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / "o.vcf.gz", tmp_path / "t.tsv"
    code = main(arguments(toy, vcf, "-o", str(out), "-t", str(table), "--target", "FOXA*", "--rc"))
    assert code == 0
    assert "MCD_diff_FOXA2_effect_mean=" in body(out)[0]
    assert "MCD_SKIP=.,symbolic" in body(out)[0]
    frame = pd.read_table(table, comment="#")
    assert set(frame.output) == {"FOXA1", "FOXA2"}
    assert len(frame) == 4
    assert "3 alleles = 2 scored + 1 skipped" in capsys.readouterr().err


def test_variants_by_name_in_a_table_and_as_haplotypes(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sequence = genome_of(toy)["chr1"]
    a, b = sequence[30], sequence[33]
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    names = [f"chr1:31:{a}>{other[a]}", f"chr1-34-{b}-{other[b]}"]
    rest = ["-f", str(toy.fasta), "--n_draws", "4"]

    def table(*words: str) -> pd.DataFrame:
        out = str(tmp_path / "t.tsv")
        assert main([str(toy.model), "--source", "dir", *words, *rest, "-t", out, "--overwrite"]) == 0
        return pd.read_table(out, comment="#")

    by_name = table("--variants", *names)
    assert by_name["pos"].tolist() == [31] * 3 + [34] * 3
    path = tmp_path / "in.txt"
    path.write_text(f"CHR BP A1 A2\nchr1 31 {other[a]} {a}\nchr1 34 {other[b]} {b}\n")
    in_table = table("-i", str(path), "--columns", "ref=A2", "alt=A1", "--input_format", "table")
    assert in_table.drop(columns="line").equals(by_name.drop(columns="line"))
    shared = table("--variants", *names, "--share_windows", "3")
    assert set(shared["flags"]) == {"off_centre"}
    capsys.readouterr()
    vcf = write_vcf(
        tmp_path / "gt.vcf",
        [f"chr1 31 . {a} {other[a]} . . . GT 0|1", f"chr1 34 . {b} {other[b]} . . . GT 0/1"],
        {"chr1": len(sequence)}, samples=["me"],
    )  # fmt: skip
    phased = table("-i", str(vcf), "--phased")
    assert phased[["haplotype", "carriers", "flags"]].drop_duplicates().to_numpy().tolist() == [
        [names[0], "me:2", "unphased_left_out"]
    ]
    assert phased["effect_mean"].tolist() == by_name["effect_mean"].tolist()[:3]
    said = capsys.readouterr().err
    assert "2 records, 1 sample, 4 copies = 1 scored (1 different haplotypes) + 1 with REF + 2" in said
    for words, why in (
        ([], "give either -i, with a file of variants, or --variants"),
        (["-i", str(vcf), "--variants", *names], "give either -i"),
        (["-i", str(path), "--columns", "ref"], "--columns must be PART=NAME"),
        (["-i", str(path)], "A1 and A2 do not say which is the allele of the genome"),
    ):
        with pytest.raises(ValueError, match=why):
            table(*words)


def test_exit_codes(toy: Toy, vcf: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "o.vcf")
    script = "import sys; from kipoi_mcdropout.cli import cli_main; cli_main('mcdropout', sys.argv[1:])"
    command = [sys.executable, "-W", "ignore", "-c", script, "score_variants"]

    def finished(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments(toy, vcf, *more)], capture_output=True, text=True, check=False
        )

    strict = finished("-o", out, "--strict")
    assert strict.returncode == 3, strict.stderr
    assert "symbolic 1" in strict.stderr
    assert len(body(Path(out))) == 2
    again = finished("-o", out)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert "Traceback" not in again.stderr
    piped = finished("-o", "-", "--overwrite")
    assert piped.returncode == 0
    assert piped.stdout.startswith("##fileformat=VCF")


def test_bad_input_is_one_line_and_exit_code_2(
    toy: Toy, vcf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with the words that name it; nothing is written."""
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)) * 20)
    cut = tmp_path / "cut.vcf.gz"
    cut.write_bytes(gzip.compress(vcf.read_bytes())[:-10])
    huge = tmp_path / "huge.vcf"
    huge.write_text(vcf.read_text().replace("\t31\t", f"\t{'9' * 22}\t"))
    cases = {
        ("--region", "1:1-1000"): "no contig '1'; it has chr1",
        ("--contig_map", str(tmp_path / "no.txt")): "no.txt cannot be read: No such file",
        ("--contig_map", str(binary)): "binary cannot be read: it is not text",
        ("--contig_map", str(tmp_path)): "cannot be read: Is a directory",
        ("--length", "25"): "length must be that of the model's input, 24 bp",
        ("--alphabet", "ACG"): "alphabet must be A, C, G and T (or U) in some order",
        ("--alphabet", "ACGX"): "alphabet must be A, C, G and T (or U) in some order",
        ("-i", str(cut)): "cut.vcf.gz, line",
        ("-i", str(binary)): 'binary, line 1: a VCF must begin with',
        ("-i", str(huge)): "huge.vcf, line 4: POS",
        ("-i", str(tmp_path)): "is a folder",
        ("-f", str(binary)): "binary must be a FASTA",
        ("-f", str(tmp_path)): "not a regular file",
    }  # fmt: skip
    before = sorted(os.listdir(tmp_path))
    for words, expected in cases.items():
        with pytest.raises(SystemExit) as ended:
            run("score_variants", "prog", arguments(toy, vcf, "-o", str(tmp_path / "o.vcf"), *words))
        text = capsys.readouterr().err
        assert ended.value.code == 2, (words, text)
        assert expected in text, words
        assert "Traceback" not in text
        assert sorted(os.listdir(tmp_path)) == before, words


def test_warnings_are_lines_of_ours_and_nothing_scored_ends_with_3(toy: Toy, tmp_path: Path) -> None:
    vcf = write_vcf(tmp_path / "in.vcf", ["1 31 . A C . . ."])
    script = "import sys; from kipoi_mcdropout.cli import cli_main; cli_main('mcdropout', sys.argv[1:])"
    words = arguments(toy, vcf, "-t", str(tmp_path / "t.tsv"))
    done = subprocess.run(
        [sys.executable, "-c", script, "score_variants", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "kipoi_mcdropout: warning: the FASTA has no contigs 1; it has chr1" in done.stderr
    assert "kipoi_mcdropout: warning: none of 1 alleles was scored: contig_unknown 1" in done.stderr
    assert "InputWarning" not in done.stderr


def test_bad_shifts_are_refused(toy: Toy, vcf: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--shifts"):
        main(arguments(toy, vcf, "-o", str(tmp_path / "o.vcf"), "--shifts", "a"))
