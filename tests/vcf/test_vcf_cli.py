"""The command, end to end, on a Kipoi model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from toy import Toy, make_toy
from variant_world import body, write_vcf

from kipoi_mcdropout.cli.score_variants import main


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


def test_exit_codes(toy: Toy, vcf: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "o.vcf")
    script = "import sys; from kipoi_mcdropout.cli import cli_main; cli_main('mcdropout', sys.argv[1:])"
    command = [sys.executable, "-W", "ignore", "-c", script, "score_variants"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments(toy, vcf, *more)], capture_output=True, text=True, check=False
        )

    strict = run("-o", out, "--strict")
    assert strict.returncode == 3, strict.stderr
    assert "symbolic 1" in strict.stderr
    assert len(body(Path(out))) == 2
    again = run("-o", out)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert "Traceback" not in again.stderr
    piped = run("-o", "-", "--overwrite")
    assert piped.returncode == 0
    assert piped.stdout.startswith("##fileformat=VCF")


def test_bad_shifts_are_refused(toy: Toy, vcf: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--shifts"):
        main(arguments(toy, vcf, "-o", str(tmp_path / "o.vcf"), "--shifts", "a"))
