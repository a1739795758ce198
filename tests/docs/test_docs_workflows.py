"""The workflows of docs/how_to/snakemake_nextflow.md, run by Snakemake and Nextflow where they are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from paths import ROOT

WORKFLOWS = ROOT / "docs" / "how_to" / "workflows"
CONTIGS = ("chr1", "chr2", "chr3")


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    (tmp_path / "example").symlink_to(ROOT / "example")
    return tmp_path


def _run(command: list[str], folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    quiet = {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **quiet},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def _check_results(folder: Path) -> None:
    assert "ivw_bootstrap_draws" in set(pd.read_table(folder / "mr.tsv", skiprows=1)["method"])
    tables = [pd.read_parquet(folder / f"{contig}.parquet") for contig in CONTIGS]
    for contig, table in zip(CONTIGS, tables, strict=True):
        assert set(table["chrom"]) == {contig}
        assert (folder / f"{contig}.vcf.gz").stat().st_size > 0


def test_snakemake(workdir: Path) -> None:
    command = os.environ.get("KIPOI_MCDROPOUT_SNAKEMAKE") or shutil.which("snakemake")
    if not command:
        pytest.skip("no snakemake on the PATH, nor named by KIPOI_MCDROPOUT_SNAKEMAKE")
    options = ["--cores", "1", "--config", "n_draws=4"]
    _run([command, *options, "--snakefile", str(WORKFLOWS / "Snakefile")], workdir)
    _check_results(workdir / "results")


def test_nextflow(workdir: Path) -> None:
    command = shutil.which("nextflow")
    if not command:
        pytest.skip("no nextflow on the PATH")
    _run([command, "run", str(WORKFLOWS / "main.nf"), "--n_draws", "4"], workdir)
    _check_results(workdir / "results")


def test_the_scripts_of_nextflow_run(workdir: Path) -> None:
    """What Nextflow would give to bash, with its variables put in, where it is not installed itself."""
    text = (WORKFLOWS / "main.nf").read_text()
    values = {f"params.{k}": v for k, v in re.findall(r"^params\.(\w+) = '?([^'\n]*)'?$", text, re.M)}
    values |= {"params.n_draws": "4", "task.cpus": "1", "ism": "ism.h5", "contig": "chr2"}
    values |= {name: values[f"params.{name}"] for name in ("model", "fasta", "regions", "vcf")}
    scripts = re.findall(r"^ *script:\n *\"\"\"\n(.*?)\"\"\"", text, re.M | re.DOTALL)
    assert len(scripts) == 3
    for script in scripts:
        script = re.sub(r"\$\{(.*?)\}", lambda name: values[name[1]], script.replace("\\\\", "\\"))
        _run(["bash", "-euo", "pipefail", "-c", script], workdir)
    assert "ivw_bootstrap_draws" in set(pd.read_table(workdir / "mr.tsv", skiprows=1)["method"])
    assert set(pd.read_parquet(workdir / "chr2.parquet")["chrom"]) == {"chr2"}


@pytest.mark.parametrize("name", ["Snakefile", "main.nf"])
def test_the_options_that_they_use_exist(name: str) -> None:
    """What can be known of a workflow where its manager is not installed."""
    import importlib

    text = (WORKFLOWS / name).read_text()
    calls = re.findall(r"kipoi mcdropout (\w+)(.*?)(?:2> \{log\}|\"\"\")", text, flags=re.DOTALL)
    assert [command for command, _ in calls] == ["ism", "mr", "score_variants"]
    for command, arguments in calls:
        parser = importlib.import_module(f"kipoi_mcdropout.cli.commands.{command}").get_parser()
        known = {option for action in parser._actions for option in action.option_strings}
        used = set(re.findall(r"(?<=\s)--?[a-z]\w*", arguments))
        assert len(used) > 3
        assert used <= known
