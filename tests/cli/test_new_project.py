"""`init FOLDER` makes a project that runs to its end as it is, and changes nothing that exists."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from doc_blocks import blocks

from kipoi_mcdropout.cli import COMMANDS, run


def make(*words: str) -> None:
    run("init", "kipoi mcdropout init", list(words))


def commands(readme: Path) -> list[list[str]]:
    """The words of each line of a shell that the page shows."""
    text = "".join(block.text for block in blocks(readme) if block.language == "sh")
    return [shlex.split(line) for line in text.replace("\\\n", " ").splitlines()]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make("project")
    monkeypatch.chdir("project")
    return Path.cwd()


def test_the_commands_of_its_readme_run_to_the_end(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here = [words for words in commands(project / "README.md") if words[0] == "mcdropout"]
    assert [words[1] for words in run_here] == ["audit", "ism", "score_variants", "report"]
    (project / "results").mkdir()
    for _, command, *words in run_here:
        if "--n_draws" in words:  # a few show that the command works as well as thirty do
            words[words.index("--n_draws") + 1] = "3"
        more = ["--no_figures"] if command == "report" else []
        run(command, f"mcdropout {command}", [*words, *more])
        assert all(Path(word).stat().st_size > 0 for word in words if word.startswith("results/"))
    assert "locked" in capsys.readouterr().out
    table = pd.read_parquet("results/variants.parquet")
    assert set(table["output"]) == {"binding", "accessibility"}
    assert (table["effect_sd"] > 0).all()
    skipped = pd.read_table("results/skipped.tsv")
    assert skipped[["id", "reason"]].to_numpy().tolist() == [["no_sequence", "symbolic"]]


def test_the_snakefile_has_the_commands_of_the_readme(project: Path) -> None:
    settings = yaml.safe_load((project / "config.yaml").read_text())
    written = {
        "input.model": "mcdropout.yaml", "output.vcf": "results/variants.vcf.gz",
        "output.table": "results/variants.parquet", "output.skipped": "results/skipped.tsv",
        **{f"config[{key}]": str(value) for key, value in settings.items()},
        **{f"input.{key}": settings[key] for key in ("fasta", "regions", "vcf")},
    }  # fmt: skip
    found = []
    for shell in re.findall(r"shell:\n((?: +\".*\"\n)+)", (project / "Snakefile").read_text()):
        line = "".join(re.findall(r"\"(.*)\"", shell))
        effects = "results/effects.h5"
        whole = {"input": effects, "output": "results/effects.html"} if " report " in line else {
            "output": effects}  # fmt: skip
        for name, value in {**written, **whole}.items():
            line = line.replace(f"{{{name}}}", value)
        found.append(shlex.split(line))
    shown = [words for words in commands(project / "README.md") if words[0] == "mcdropout"]
    assert found == [words for words in shown if words[1] != "audit"]


def test_snakemake_runs_it(project: Path) -> None:
    command = os.environ.get("KIPOI_MCDROPOUT_SNAKEMAKE") or shutil.which("snakemake")
    if not command:
        pytest.skip("no snakemake on the PATH, nor named by KIPOI_MCDROPOUT_SNAKEMAKE")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    cache = str(project.parent / "cache")
    done = subprocess.run(
        [command, "--cores", "1", "--config", "n_draws=3"],
        env={**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore", "XDG_CACHE_HOME": cache},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.name for path in Path("results").iterdir()} >= {"effects.html", "variants.vcf.gz"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    make(str(tmp_path / "empty"))
    assert (tmp_path / "empty" / "net.py").is_file()


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        make(*words)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_nothing_that_exists_is_changed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "net.py").write_text("mine")
    names = sorted(path.name for path in project.iterdir())
    assert "exists, and nothing in it was changed" in refused(capsys, str(project))
    assert "exists" in refused(capsys, str(project / "Snakefile"))
    assert (project / "net.py").read_text() == "mine"
    assert sorted(path.name for path in project.iterdir()) == names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["net.py:Net"], "without a dot or a colon"),
        (["model.h5"], "without a dot or a colon"),
        (["DeepSEA/predict"], "there is no DeepSEA"),
        (["new", "--weights", "w.pt"], "--weights is about a model, so -o PATH is needed"),
        (["new", "--overwrite"], "--overwrite is about a model"),
        (["new", "--kipoi"], "--kipoi is about a model"),
    ],
)
def test_a_model_is_not_taken_for_a_folder(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Who forgets -o gets no folder with the name of the model."""
    monkeypatch.chdir(tmp_path)
    told = refused(capsys, *words)
    assert message in told
    assert "-o" in told
    assert list(tmp_path.iterdir()) == []


def test_the_options_that_its_files_use_exist(project: Path) -> None:
    for _, command, *words in (w for w in commands(project / "README.md") if w[0] == "mcdropout"):
        assert command in COMMANDS
        module = importlib.import_module(f"kipoi_mcdropout.cli.commands.{command}")
        assert module.get_parser().parse_args(words) is not None
