"""Standard output, and how much is said on stderr."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from toy import Toy, make_toy

from kipoi_mcdropout.cli import COMMANDS, cli_main
from kipoi_mcdropout.engine.incremental.rules.convolution import Convolution
from kipoi_mcdropout.files.first_line import PROVENANCE_KEY
from kipoi_mcdropout.files.read import read_effects

pytestmark = pytest.mark.usefixtures("small_models_are_captured")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


def words(toy: Toy, command: str, *more: str) -> list[str]:
    data = json.dumps(toy.dataloader_args)
    base = [command, str(toy.model), "--source", "dir", "--dataloader_args", data, "--n_draws", "3"]
    return [*base, *(["--model_input", "seq"] if command == "ism" else []), *more]


PROGRAM = "import sys; from kipoi_mcdropout.cli import cli_main; cli_main('mcdropout', sys.argv[1:])"


def piped(arguments: list[str], then: str = "cat") -> subprocess.CompletedProcess[str]:
    """The command with its standard output in a pipe."""
    script = f'"$0" -c "$1" "${{@:2}}" | {then}; exit ${{PIPESTATUS[0]}}'
    return subprocess.run(
        ["bash", "-c", script, sys.executable, PROGRAM, *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["ism", "predict"])
def test_a_dash_is_tsv_on_standard_output(toy: Toy, tmp_path: Path, command: str) -> None:
    path = tmp_path / "a.tsv"
    cli_main("mcdropout", words(toy, command, "-o", str(path)))
    done = piped(words(toy, command, "-o", "-"))
    assert done.returncode == 0, done.stderr
    piped_table = pd.read_table(io.StringIO(done.stdout), skiprows=1)
    pd.testing.assert_frame_equal(piped_table, pd.read_table(path, skiprows=1))
    both = piped(words(toy, command, "-o", "-", str(tmp_path / "b.parquet")))
    assert both.returncode == 0
    assert (tmp_path / "b.parquet").is_file()


def test_mr_to_a_pipe(toy: Toy, tmp_path: Path) -> None:
    effects = str(tmp_path / "e.h5")
    cli_main("mcdropout", words(toy, "ism", "--keep_draws", "-o", effects))
    mr = ["mr", effects, "--exposure", "FOXA1", "--outcome", "DNase", "--n_bootstrap", "20", "-o", "-"]
    done = piped(mr)
    assert done.returncode == 0, done.stderr
    assert "slope" in done.stdout or "estimate" in done.stdout
    quiet = piped([*mr, "--quiet"])
    assert quiet.stdout == done.stdout
    assert "warning:" in quiet.stderr
    assert "estimates:" not in quiet.stderr


def test_a_reader_that_has_enough_is_no_error_of_ours(toy: Toy) -> None:
    done = piped(words(toy, "ism", "-o", "-"), then="head -c 10")
    assert done.returncode in (0, 141)
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_quiet_says_nothing_where_all_is_well(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli_main("mcdropout", words(toy, "predict", "-q", "-o", str(tmp_path / "a.tsv")))
    assert capsys.readouterr().err == ""
    cli_main("mcdropout", words(toy, "predict", "-o", str(tmp_path / "b.tsv")))
    assert "3 sequences" in capsys.readouterr().err


def test_quiet_keeps_warnings_and_errors(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli_main("mcdropout", words(toy, "ism", "--quiet", "-o", str(tmp_path / "a.tsv")))
    assert "are N in the reference" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli_main("mcdropout", words(toy, "ism", "--quiet", "-o", str(tmp_path / "a.tsv")))
    assert "exists; add --overwrite" in capsys.readouterr().err


def test_verbose_tells_the_engine_and_shows_tracebacks(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli_main("mcdropout", words(toy, "ism", "--verbose", "-o", str(tmp_path / "a.tsv")))
    assert "engine: full, estimated at" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli_main("mcdropout", words(toy, "ism", "-v", "--target", "none", "-o", str(tmp_path / "b.tsv")))
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "TargetError" in error


@pytest.mark.parametrize("command", ["ism", "score_variants", "audit"])
def test_an_engine_that_fails_is_said(
    toy: Toy,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("broken")

    monkeypatch.setattr(Convolution, "__init__", fails)
    said = "the rule of the incremental engine for conv1d in module 'conv' failed (KeyError: 'broken')"
    table = tmp_path / "a.tsv"
    if command == "score_variants":
        vcf = tmp_path / "in.vcf"
        base = toy.fasta.read_text().split("\n")[1][30].upper()
        contig = toy.fasta.read_text().split()[0][1:]
        columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
        line = f"{contig}\t31\t.\t{base}\t{'A' if base != 'A' else 'C'}\t.\t.\t."
        vcf.write_text(f"##fileformat=VCFv4.2\n##contig=<ID={contig}>\n{columns}\n{line}\n")
        given = [command, str(toy.model), "--source", "dir", "-i", str(vcf), "-f", str(toy.fasta)]
        given += ["--n_draws", "400", "-t", str(table)]
    elif command == "audit":
        given = [command, str(toy.model), "--source", "dir"]
    else:
        given = words(toy, command, "-o", str(table))
    cli_main("mcdropout", [*given, "--quiet"])
    out, err = capsys.readouterr()
    if command == "audit":
        assert f"engine auto: full ({said})" in out
        return
    assert f"engine: full, {said}" in err
    header = table.read_text().split("\n")[0].removeprefix("# ")
    record = json.loads(header)[PROVENANCE_KEY]
    assert record["options"]["engine_used"] == "full"
    assert record["engine_reason"] == said
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", [*given, "--overwrite", "--engine", "incremental"])
    assert stop.value.code == 2
    assert f"{said}. Use the engine 'full'" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--resume"], ["--shard", "1/2"]])
def test_standard_output_alone_cannot_be_resumed_or_sharded(
    toy: Toy, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", words(toy, "ism", *more, "-o", "-"))
    assert stop.value.code == 2
    assert "-o" in capsys.readouterr().err


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_can_be_quiet_or_verbose(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", [command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--quiet" in text
    assert "--verbose" in text


def test_read_effects_takes_what_was_piped_to_a_file(toy: Toy, tmp_path: Path) -> None:
    path = tmp_path / "piped.tsv"
    path.write_text(piped(words(toy, "ism", "-o", "-")).stdout)
    assert len(read_effects(path)) > 100
