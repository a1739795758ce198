"""Bad input ends with 2, a failure of the machine with 1; both with one line and no output."""

from __future__ import annotations

import errno
import os
import shlex
from pathlib import Path

import pytest
from toy import Toy, make_toy

from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.errors import WRONG_PATH, is_machine_failure

BINARY = b"\x00\x01\xff\xfe binary\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its data, a result, and files that are damaged, empty, or of another kind."""
    folder = tmp_path_factory.mktemp("world")
    toy: Toy = make_toy(folder)
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    (folder / "in.vcf").write_text(f"##fileformat=VCFv4.2\n{columns}\n")
    for name in ("bin.tsv", "bin.h5", "bin.json", "bin.parquet", "bin.fa", "bin.vcf"):
        (folder / name).write_bytes(BINARY)
    (folder / "other.tsv").write_text("a\tb\n1\t2\n")
    (folder / "empty.tsv").write_text("")
    (folder / "list.json").write_text("[1]")
    (folder / "measured.tsv").write_text("variant\teffect\tse\nx\ty\tz\n")
    (folder / "bad.py").write_text("this is not Python")
    (folder / "raises.py").write_text("1 / 0")
    (folder / "peaks.bed").write_text("chr1\t4\t9\nchr1\t40\t49\n")
    (folder / "dir.tsv").mkdir()
    for name, text in (("broken", "a: [\nb: ]"), ("hollow", "")):
        (folder / name).mkdir()
        (folder / name / "model.yaml").write_text(text)
    cli_main("mcdropout", ["ism", str(toy.model), *MODEL.split(), "--dataloader_args", toy_words(toy),
                           "--keep_draws", "-o", str(folder / "effects.h5")])  # fmt: skip
    return folder


def toy_words(toy: Toy) -> str:
    return f'{{"fasta_file": "{toy.fasta}", "intervals_file": "{toy.bed}"}}'


MODEL = "--model_input seq --n_draws 2"
ISM = f"ism model {MODEL} --dataloader_args fasta_file=genome.fa intervals_file=regions.bed"
BACKGROUND = ISM.replace("ism", "background", 1)
VCF = "score_variants model --n_draws 2 -i in.vcf -f genome.fa"
MR = "--exposure FOXA1 --outcome DNase"
REGIONS = "sample_regions -n 2 --length 5"
BAD_INPUT = [
    f"{ISM} -f bad.py::f -o o.tsv",
    f"{ISM} -f raises.py::f -o o.tsv",
    f"{ISM} -f none.py::f -o o.tsv",
    f"{ISM} --imp_score_kwargs bin.json -o o.tsv",
    f"{ISM} --imp_score_kwargs list.json -o o.tsv",
    f"{ISM} --imp_score_kwargs '{{\"quantiles\": \"a\"}}' -o o.tsv",
    f"{ISM} --imp_score_kwargs '{{\"scores\": 3}}' -o o.tsv",
    f"{ISM} --score_kwargs bin.json -o o.tsv",
    f"{ISM} --scheduler bin.json -o o.tsv",
    f"{ISM} --scheduler list.json -o o.tsv",
    f"{ISM} --num_workers -1 -o o.tsv",
    f"{ISM} --batch_size 0 -o o.tsv",
    f"{ISM} -o dir.tsv --overwrite",
    f"{ISM} -o other.tsv/o.tsv",
    "ism broken --model_input seq -o o.tsv",
    "ism hollow --model_input seq -o o.tsv",
    "predict model --dataloader_args bin.json -o o.tsv",
    "predict model --dataloader_args fasta_file=bin.fa intervals_file=bin.tsv -o o.tsv",
    "audit model --model_input nosuch",
    "audit model --category_axis 9",
    f"{VCF.replace('in.vcf', 'bin.vcf')} -o o.vcf",
    f"{VCF.replace('in.vcf', 'dir.tsv')} -o o.vcf",
    f"{VCF.replace('genome.fa', 'bin.fa')} -o o.vcf",
    f"{VCF} --contig_map bin.tsv -o o.vcf",
    f"{VCF} --contig_map none -o o.vcf",
    "merge none",
    "merge other.tsv",
    f"mr bin.h5 {MR} -o o.tsv",
    f"mr bin.parquet {MR} -o o.tsv",
    f"mr bin.tsv {MR} -o o.tsv",
    f"mr none.h5 {MR} -o o.tsv",
    f"export_mr effects.h5 {MR} -o other.tsv",
    f"export_mr effects.h5 {MR} -o other.tsv/x",
    f"export_mr bin.h5 {MR} -o o",
    "report bin.h5 -o o.html",
    "report other.tsv -o o.html",
    "report none -o o.html",
    "plot ism bin.h5 -o o.png",
    "plot volcano effects.h5 --labels -1 --target DNase -o o.png",
    "plot calibration effects.h5 --target DNase --measured bin.tsv -o o.png",
    "calibrate effects.h5 bin.tsv --target DNase -o o.tsv",
    "calibrate effects.h5 dir.tsv --target DNase -o o.tsv",
    "calibrate effects.h5 empty.tsv --target DNase -o o.tsv",
    "calibrate effects.h5 measured.tsv --target DNase -o o.tsv",
    "evaluate effects.h5 bin.tsv --target DNase -o o.tsv",
    "evaluate effects.h5 measured.tsv --target none -o o.tsv",
    "significance effects.h5 --background bin.parquet -o o.tsv",
    "significance effects.h5 --background effects.h5 -o o.tsv",
    "significance effects.h5 --background none.parquet -o o.tsv",
    "significance bin.h5 --background bin.parquet -o o.tsv",
    f"{ISM} --background bin.parquet -o o.tsv",
    f"{VCF} --background bin.parquet -o o.vcf",
    f"{BACKGROUND} -o o.tsv",
    f"{BACKGROUND} --n_effects 10 -o o.parquet",
    f"{BACKGROUND} --scores ref -o o.parquet",
    f"{BACKGROUND} --start 30 -o o.parquet",
    f"{BACKGROUND} --from_regions -o o.parquet",
    f"{REGIONS} -f none.fa --peaks peaks.bed -o o.bed",
    f"{REGIONS} -f genome.fa --peaks bin.tsv -o o.bed",
    f"{REGIONS} -f genome.fa --peaks dir.tsv -o o.bed",
    f"{REGIONS} -f genome.fa --peaks peaks.bed -o none/o.bed",
]


def _run(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", shlex.split(command))
    assert isinstance(stop.value.code, int)
    return stop.value.code, capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("command", BAD_INPUT)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Kipoi leaves files open where parsing fails
def test_bad_input_is_2(
    command: str, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)
    before = sorted(world.iterdir())
    code, line = _run(command, capsys)
    words = command.split()
    assert code == 2, line
    assert line.startswith(f"kipoi mcdropout {words[0]}"), "on one line"
    assert ": error: " in line, "on one line"
    assert sorted(world.iterdir()) == before


MACHINE = [
    (f"{ISM} -o o.tsv", "kipoi_mcdropout.files.table.TsvTable.write"),
    (f"mr effects.h5 {MR} -o o.tsv", "kipoi_mcdropout.files.atomic._write_tsv"),
    (f"export_mr effects.h5 {MR} -o made", "kipoi_mcdropout.mr.export.files._tsv"),
    (f"{REGIONS} -f genome.fa --peaks peaks.bed -o o.bed", "pathlib.Path.write_text"),
    ("report effects.h5 --no_figures -o o.html", "pathlib.Path.write_bytes"),
    (f"{REGIONS} -f genome.fa --peaks peaks.bed -o -", "kipoi_mcdropout.sequence.bed._interval"),
]  # fmt: skip


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE])
@pytest.mark.parametrize(("command", "place"), MACHINE)
def test_a_failure_of_the_machine_is_1(
    command: str, place: str, number: int, world: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.chdir(world)
    monkeypatch.setattr(place, fail)
    code, line = _run(command, capsys)
    assert code == 1, line
    assert os.strerror(number) in line
    assert ": error: " in line
    assert not list(world.glob("o.*"))


def test_no_memory_for_the_dataloader_is_1(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What fails in code of the user's is bad input, unless it is the machine."""

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.chdir(world)
    monkeypatch.setattr("pyfaidx.Fasta.__init__", fail)
    code, line = _run(f"{ISM.replace('ism model --model_input seq', 'predict model')} -o o.tsv", capsys)
    assert code == 1
    assert "memory is not enough" in line


def test_which_errors_are_of_the_machine() -> None:
    assert not any(is_machine_failure(kind(2, "x")) for kind in WRONG_PATH)
    assert not is_machine_failure(OSError("no number"))
    assert not is_machine_failure(ValueError())
    assert is_machine_failure(OSError(errno.ENOSPC, "x"))
    assert is_machine_failure(MemoryError())
