"""The program `mcdropout`: the commands of `kipoi mcdropout`, without Kipoi where it is not needed."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from paths import ROOT
from small_models import Linear, fixed, one_hot
from toy import make_toy

import kipoi_mcdropout as mcd
from kipoi_mcdropout.files.read import read_provenance

START = "import sys; from kipoi_mcdropout.cli import program; sys.argv[0] = 'mcdropout'; "


def mcdropout(*words: str, then: str = "") -> subprocess.CompletedProcess[str]:
    code = f"{START}program(sys.argv[1:]){then}"
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )


def test_the_program_is_installed_under_its_name() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, _, path = setup["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = path.partition(":")
    assert name == "mcdropout"
    assert callable(getattr(import_module(module), function))


def test_its_version_and_its_help() -> None:
    done = mcdropout("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("kipoi_mcdropout ")
    assert done.stderr == ""
    done = mcdropout("--help")
    assert done.stdout.startswith("usage: mcdropout COMMAND")
    assert "score_variants" in done.stdout
    assert mcdropout("dance").returncode == 2


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = mcd.Model(fixed(Linear(2)), outputs=["DNase", "FOXA2"])
    return mcd.ism(model, one_hot(1), n_draws=5).save(tmp_path_factory.mktemp("r") / "a.tsv")


@pytest.mark.parametrize(
    "module",
    [
        "files.read", "files.effects", "plots", "reports", "mr", "significance.evaluation",
        "tracks.write", "tracks.modisco",
    ],
)  # fmt: skip
def test_what_reads_results_imports_no_torch(module: str) -> None:
    """It takes longer to import than a figure to draw."""
    code = f"import sys, kipoi_mcdropout.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_figures_import_no_statistics_that_they_do_not_show() -> None:
    code = """
import sys
from kipoi_mcdropout import plots
assert not {"scipy.stats", "statsmodels"} & set(sys.modules)
assert plots.plot_mr.__module__ == "kipoi_mcdropout.plots.mr"
sys.exit(hasattr(plots, "plot_nothing"))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_reads_results_imports_no_kipoi(result: Path, tmp_path: Path) -> None:
    then = "; assert 'kipoi' not in sys.modules, 'kipoi'"
    out = tmp_path / "mr.tsv"
    words = [str(result), "--exposure", "FOXA2", "--outcome", "DNase", "--n_bootstrap", "9"]
    done = mcdropout("mr", *words, "-o", str(out), then=then)
    assert done.returncode == 0, done.stderr
    assert out.is_file()
    words = [str(result), "--no_figures", "-q", "-o", str(tmp_path / "r.html")]
    done = mcdropout("report", *words, then=then)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_ism_says_its_own_lines_alone(tmp_path: Path) -> None:
    toy = make_toy(tmp_path)
    arguments = json.dumps(toy.dataloader_args)
    words = [str(toy.model), "--dataloader_args", arguments, "--n_draws", "2", "--end", "5", "-q"]
    done = mcdropout("ism", *words, "-o", str(tmp_path / "a.tsv"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == ""
    assert read_provenance(tmp_path / "a.tsv")["command"][:2] == ["mcdropout", "ism"]
