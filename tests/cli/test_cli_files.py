"""No command replaces a file that it reads, and no two outputs are one file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from toy import Toy, make_toy

from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.errors import OutputError
from kipoi_mcdropout.files.same_file import check_not_inputs

# Of each command: its words, with {input} the name of the file that is also the output, and {out} the
# path of it as an output. The names are those of the files in `world`.
ISM = "ism model --source dir --dataloader_args {args} --model_input seq"
VCF = "score_variants model --source dir -i in.vcf -f genome.tsv"
MR = "mr effects.tsv --exposure a --outcome b"
REGIONS = "sample_regions -f genome.tsv --peaks peaks.tsv -n 2 --length 5"
INPUTS = {
    "ism genome": f"{ISM} -o {{out}} --target a",
    "ism weights": f"{ISM} -o {{out}}",
    "ism function": f"{ISM} -f pick.tsv::f -o {{out}}",
    "predict arguments": "predict model --source dir --dataloader_args args.tsv -o {out}",
    "predict words": "predict model --source dir --dataloader_args fasta_file=genome.tsv -o {out}",
    "score_variants genome": f"{VCF} -o o.vcf -t {{out}}",
    "score_variants vcf": f"{VCF} -o {{out}}",
    "score_variants skipped": f"{VCF} -o o.vcf --skipped {{out}}",
    "score_variants map": f"{VCF} -o o.vcf --contig_map map.tsv -t {{out}}",
    "mr": f"{MR} -o {{out}}",
    "mr leave_one_out": f"{MR} -o o.tsv --leave_one_out {{out}}",
    "mr across_sequences": f"{MR} -o o.tsv --across_sequences {{out}}",
    "calibrate": "calibrate effects.tsv measured.tsv --target a -o {out}",
    "calibrate scaled": "calibrate effects.tsv --target a --sd_scale 2 --scaled {out}",
    "evaluate": "evaluate effects.tsv measured.tsv --target a -o {out}",
    "evaluate plot": "evaluate effects.tsv measured.png --target a -o o.tsv --plot {out}",
    "significance": "significance effects.tsv --background null.parquet -o {out}",
    "significance background": "significance effects.tsv --background black.tsv -o {out}",
    "background": "background model --source dir -f genome.tsv --regions peaks.tsv -o {out}",
    "ism background": f"{ISM} --background black.tsv -o {{out}}",
    "sample_regions peaks": f"{REGIONS} -o {{out}}",
    "sample_regions blacklist": f"{REGIONS} --blacklist black.tsv -o {{out}}",
    "report": "report effects.tsv -o {out}",
    "plot": "plot ism effects.tsv -o {out}",
    "plot calibration": "plot calibration effects.tsv --measured measured.tsv --target a -o {out}",
}
OF = {
    "ism genome": "genome.tsv", "ism weights": "model/weights.pt", "ism function": "pick.tsv",
    "predict arguments": "args.tsv", "predict words": "genome.tsv",
    "score_variants genome": "genome.tsv", "score_variants vcf": "in.vcf",
    "score_variants skipped": "genome.tsv", "score_variants map": "map.tsv",
    "calibrate": "measured.tsv", "evaluate plot": "measured.png", "sample_regions peaks": "peaks.tsv",
    "significance background": "black.tsv", "background": "peaks.tsv", "ism background": "black.tsv",
    "sample_regions blacklist": "black.tsv", "plot calibration": "measured.tsv",
}  # fmt: skip


def _same(path: Path, _folder: Path) -> str:
    return str(path)


def _other_spelling(path: Path, _folder: Path) -> str:
    return os.path.join(path.parent, "..", path.parent.name, path.name)


def _symbolic_link(path: Path, folder: Path) -> str:
    link = folder / f"link_{path.stem}{path.suffix}"
    link.symlink_to(path)
    return str(link)


def _hard_link(path: Path, folder: Path) -> str:
    link = folder / f"hard{path.suffix}"
    link.hardlink_to(path)
    return str(link)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that hold their own names: every one would be seen to change."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.yaml").write_text("args: {weights: weights.pt}\n")
    for name in ("genome.tsv", "in.vcf", "effects.tsv", "measured.tsv", "peaks.tsv", "black.tsv",
                 "map.tsv", "pick.tsv", "measured.png", "model/weights.pt"):  # fmt: skip
        (tmp_path / name).write_text(name)
    (tmp_path / "args.tsv").write_text('{"fasta_file": "genome.tsv", "more": ["black.tsv"]}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", words)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", [_same, _other_spelling, _symbolic_link, _hard_link])
@pytest.mark.parametrize("case", INPUTS)
def test_an_input_is_never_an_output(
    case: str, name: Callable[[Path, Path], str], world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world / OF.get(case, "effects.tsv")
    before = {p: p.read_bytes() for p in world.rglob("*") if p.is_file()}
    args = json.dumps({"fasta_file": "genome.tsv", "nested": {"bed": ["peaks.tsv"]}})
    out = name(path, world)
    words = [word.format(args=args, out=out) for word in INPUTS[case].split()]
    line = _refused([*words, "--overwrite"], capsys)
    assert "an output never replaces an input" in line, line
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.usefixtures("world")
def test_files_named_within_json_are_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    nested = ["ism", "model", "--dataloader_args", '{"a": {"bed": ["peaks.tsv"]}}', "-o", "peaks.tsv"]
    in_a_file = ["predict", "model", "--dataloader_args", "args.tsv", "-o", "black.tsv"]
    for words in (nested, in_a_file):
        assert "an output never replaces an input" in _refused([*words, "--overwrite"], capsys)


@pytest.mark.parametrize(
    "words",
    [
        "mr effects.tsv --exposure a --outcome b -o x.tsv --leave_one_out ./x.tsv",
        "predict model -o x.tsv there/../x.tsv",
        "predict model -o old.tsv link.tsv",
        "score_variants model -i in.vcf -f genome.tsv -o x.vcf -t old.tsv --skipped link.tsv",
        "calibrate effects.tsv measured.tsv --target a -o old.tsv --scaled link.tsv",
        "evaluate effects.tsv measured.tsv --target a -o e.tsv --plot a.png ./a.png",
        "plot ism effects.tsv -o a.png ./a.png",
    ],
)
def test_two_outputs_are_two_files(words: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world / "there").mkdir()
    (world / "old.tsv").write_text("old")
    (world / "link.tsv").symlink_to("old.tsv")
    assert "two outputs must be different files" in _refused([*words.split(), "--overwrite"], capsys)


def test_what_need_not_be_there_is_compared_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(OutputError, match="the genome, the same file as"):
        check_not_inputs([tmp_path / "link"], {"the genome": tmp_path / "gone"})
    check_not_inputs([tmp_path / "a", "-"], {"the genome": tmp_path / "b", "no map": None, "stdin": "-"})


def test_python_refuses_too(tmp_path: Path) -> None:
    from torch import nn
    from variant_call import score_variants

    from kipoi_mcdropout.reports import write_report

    toy: Toy = make_toy(tmp_path / "toy")
    net, table = nn.Linear(1, 1), tmp_path / "genome.tsv"
    table.hardlink_to(toy.fasta)
    (tmp_path / "in.vcf").write_text("")
    with pytest.raises(OutputError, match="is the genome, the same file as"):
        score_variants(net, tmp_path / "in.vcf", toy.fasta, None, table, overwrite=True)
    with pytest.raises(OutputError, match="is the input; an output never"):
        score_variants(net, tmp_path / "in.vcf", toy.fasta, tmp_path / "in.vcf", overwrite=True)
    (tmp_path / "r.html").write_text("")
    with pytest.raises(OutputError, match="is input 1"):
        write_report([tmp_path / "r.html"], tmp_path / "r.html", overwrite=True)


@pytest.mark.parametrize("end", [".fai", ".gzi", ".tbi"])
def test_the_index_of_an_input_is_never_an_output(tmp_path: Path, end: str) -> None:
    genome, index = tmp_path / "genome.fa", tmp_path / f"genome.fa{end}"
    check_not_inputs([index], {"the genome": genome})
    index.write_text("something")
    words = f"the index {end} of the genome; an output never replaces an input"
    with pytest.raises(OutputError, match=words):
        check_not_inputs([index], {"the genome": genome})
