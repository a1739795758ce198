"""On the command line: models that fail, or use random numbers, end in one line and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pandas as pd
import pytest
import torch
from toy import Toy, make_toy

from kipoi_mcdropout.cli import cli_main, interpret_ism

HEAD = "        x = torch.relu(self.conv(seq.transpose(1, 2)))\n"


def toy_with(folder: Path, code: str, head: str = "") -> Toy:
    """The toy model with lines of code at the start of its forward pass."""
    toy = make_toy(folder)
    file = toy.model / "model.py"
    text = file.read_text()
    assert HEAD in text
    lines = "".join(f"        {line}\n" for line in code.splitlines())
    file.write_text(head + text.replace(HEAD, HEAD + lines))
    return toy


def words(toy: Toy, *more: object) -> list[str]:
    data = json.dumps(toy.dataloader_args)
    return [str(toy.model), "--source", "dir", "--dataloader_args", data, *map(str, more)]


def run(command: str, toy: Toy, *more: object) -> int:
    try:
        if command == "ism":
            interpret_ism("ism", words(toy, "--model_input", "seq", "--n_draws", "2", *more))
        else:
            draws = [] if command == "audit" else ["--n_draws", "2"]
            cli_main("mcdropout", [command, *words(toy, *draws, *more)])
    except SystemExit as ending:
        return ending.code  # type: ignore[return-value]
    return 0


@pytest.mark.parametrize("command", ["ism", "predict", "audit"])
@pytest.mark.parametrize(
    ("code", "what"),
    [("raise ValueError('not today')", "ValueError: not today"), ("raise SystemExit(0)", "sys.exit(0)")],
)
def test_a_failing_forward_pass(
    command: str, code: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = toy_with(tmp_path / "toy", code)
    more = [] if command == "audit" else ["-o", tmp_path / "out.tsv"]
    assert run(command, toy, *more) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].count("error: ") == 1
    assert what in error[-1]
    assert "module 'ToyNet' (ToyNet), model.py line " in error[-1]
    assert not any("Traceback" in line for line in error)
    assert not (tmp_path / "out.tsv").exists()


def test_the_users_own_traceback_is_shown_with_verbose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = toy_with(tmp_path / "toy", "raise ValueError('not today')")
    assert run("predict", toy, "-o", tmp_path / "out.tsv", "--verbose") == 2
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert 'model.py", line ' in error
    assert "in forward\n" in error


def test_a_model_whose_module_ends_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = toy_with(tmp_path / "toy", "", "raise SystemExit(0)\n")
    assert run("predict", toy, "-o", tmp_path / "out.tsv") == 2
    assert "cannot be loaded: SystemExit" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["ism", "predict", "audit"])
def test_random_numbers_are_refused_and_may_be_left_off(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = toy_with(
        tmp_path / "toy", "if self.training:\n    x = x * np.random.random()", "import numpy as np\n"
    )
    more = [] if command == "audit" else ["-o", tmp_path / "out.tsv"]
    assert run(command, toy, *more) == 2
    assert "module 'ToyNet' (ToyNet) uses numpy's random numbers" in capsys.readouterr().err
    assert run(command, toy, *more, "--ignore", "ToyNet") == 0
    if command == "audit":
        return
    table = pd.read_table(tmp_path / "out.tsv", skiprows=1)
    assert (table["effect_sd" if command == "ism" else "sd"] > 0).any()


def test_ignored_dropout_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "x = torch.nn.functional.dropout(x, 0.25, self.training)"
    toy = toy_with(tmp_path / "toy", code)
    assert run("predict", toy, "-o", tmp_path / "out.h5", "--ignore", "drop") == 0
    assert "note: drop: dropout is off, as requested" in capsys.readouterr().err
    with h5py.File(tmp_path / "out.h5") as file:
        record = json.loads(file.attrs["provenance"])
    assert [(site["name"], site["p"]) for site in record["sites"]] == [("ToyNet", 0.25), ("drop", 0.0)]
    assert record["options"]["ignore"] == ["drop"]
    assert run("audit", toy, "--ignore", "drop") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if "off, as requested" in line][:1] == ["drop"]


def test_ignore_of_an_unknown_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = make_toy(tmp_path / "toy")
    for command in ("ism", "predict", "audit"):
        more = [] if command == "audit" else ["-o", tmp_path / "out.tsv"]
        assert run(command, toy, *more, "--ignore", "dropp") == 2
        assert "has no 'dropp'. Similar names: 'drop'" in capsys.readouterr().err


def test_a_failing_forward_pass_in_a_vcf_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = toy_with(tmp_path / "toy", "raise ValueError('not today')")
    vcf = tmp_path / "in.vcf"
    vcf.write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=72>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        "chr1\t30\t.\tA\tC\t.\t.\t.\n"
    )
    torch.manual_seed(0)
    with pytest.raises(SystemExit) as ending:
        cli_main(
            "mcdropout",
            ["score_variants", str(toy.model), "--source", "dir", "-i", str(vcf), "-f", str(toy.fasta),
             "-o", str(tmp_path / "out.vcf")],
        )  # fmt: skip
    assert ending.value.code == 2
    assert "model.py line " in capsys.readouterr().err
    assert not (tmp_path / "out.vcf").exists()
