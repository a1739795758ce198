"""The workflows of docs/how_to/snakemake_nextflow.md, run by Snakemake and Nextflow where they are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from page_runner import without_coverage
from paths import ROOT

import kipoi_mcdropout

WORKFLOWS = ROOT / "docs" / "how_to" / "workflows"
MODULE = WORKFLOWS / "nf-core" / "kipoi_mcdropout" / "scorevariants"
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
        env={**without_coverage(), "PATH": path, **quiet},
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


def test_the_wrapper_of_snakemake(workdir: Path) -> None:
    command = os.environ.get("KIPOI_MCDROPOUT_SNAKEMAKE") or shutil.which("snakemake")
    if not command:
        pytest.skip("no snakemake on the PATH, nor named by KIPOI_MCDROPOUT_SNAKEMAKE")
    file = WORKFLOWS / "wrapper" / "test" / "Snakefile"
    _run([command, "--cores", "1", "--snakefile", str(file)], workdir)
    _check_scored(workdir / "effects", "variants")


def _check_scored(folder: Path, name: str) -> None:
    """What the wrapper and the module of nf-core write of the example's VCF."""
    table = pd.read_parquet(folder / f"{name}.parquet")
    assert set(table["output"]) == {"FOXA2", "DNase"}
    skipped = pd.read_table(folder / f"{name}.skipped.tsv")
    (row,) = json.loads((folder / f"{name}_mqc.json").read_text())["data"].values()
    assert row["scored"] == table["line"].astype(str).add(table["allele"].astype(str)).nunique()
    assert (row["skipped"], row["draws"]) == (len(skipped), 4)
    assert (folder / f"{name}_ledger_mqc.json").is_file()
    assert (folder / f"{name}.vcf.gz").stat().st_size > 0


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


def _module() -> str:
    return (MODULE / "main.nf").read_text()


def test_the_script_of_the_module_runs(workdir: Path) -> None:
    """What Nextflow would give to bash."""
    values = {
        "task.cpus": "1", "model": "example/model", "vcf": "example/data/variants.vcf",
        "fasta": "example/data/genome.fa", "prefix": "test.mcdropout", "meta.id": "test",
    }  # fmt: skip
    config = (MODULE / "tests" / "nextflow.config").read_text()
    (values["args"],) = re.findall(r"ext\.args = '(.*)'", config)
    script, stub = re.findall(r"\"\"\"\n(.*?)\"\"\"", _module(), re.DOTALL)
    script = re.sub(r"\$\{(.*?)\}", lambda name: values[name[1]], script.replace("\\\\", "\\"))
    _run(["bash", "-euo", "pipefail", "-c", script], workdir)
    _check_scored(workdir, "test.mcdropout")
    names = {path.name for path in workdir.glob("test.*")}
    for name in names:  # a stub makes the same files
        (workdir / name).unlink()
    stub = re.sub(r"\$\{(.*?)\}", lambda name: values[name[1]], stub)
    _run(["bash", "-euo", "pipefail", "-c", stub], workdir)
    assert {path.name for path in workdir.glob("test.*")} == names


def test_the_module_is_described_as_it_is() -> None:
    """The channels of meta.yml are those of main.nf, in its order."""
    described = yaml.safe_load((MODULE / "meta.yml").read_text())
    block = re.search(r"input:\n(.*?)output:\n(.*?)when:", _module(), re.DOTALL)
    assert block is not None
    inputs = [re.findall(r"(?:val|path)\((\w+)\)|path (\w+)", line) for line in block[1].splitlines()]
    channels = [["".join(pair) for pair in line] for line in inputs if line]
    listed = [c if isinstance(c, list) else [c] for c in described["input"]]
    assert [[next(iter(part)) for part in channel] for channel in listed] == channels
    emitted = re.findall(r"emit: (\w+)", block[2])
    assert list(described["output"]) == emitted
    for (channel,), text in zip(described["output"].values(), block[2].splitlines(), strict=False):
        last = next(iter(channel[-1]))
        assert last in text
    parts = [part for channel in listed for part in channel]
    parts += [part for (channel,) in described["output"].values() for part in channel]
    assert all({"type", "description"} <= set(next(iter(part.values()))) for part in parts)
    assert len(set(described["keywords"])) >= 3
    version = re.search(r"bioconda::kipoi_mcdropout=(.*)", (MODULE / "environment.yml").read_text())
    assert version is not None
    assert version[1] == kipoi_mcdropout.__version__
    assert f"kipoi_mcdropout:{version[1]}" in _module()


def test_the_options_of_the_pieces_exist() -> None:
    from kipoi_mcdropout.cli.commands import multiqc, score_variants

    for path in (MODULE / "main.nf", WORKFLOWS / "wrapper" / "wrapper.py"):
        text = path.read_text()
        used = set(re.findall(r"(?<=[\s\"'])--?[a-z]\w*", text.split("script:")[-1].split("stub:")[0]))
        parsers = (score_variants.get_parser(), multiqc.get_parser())
        known = {o for parser in parsers for action in parser._actions for o in action.option_strings}
        assert {"-i", "-f", "-o", "-t", "--skipped"} <= used
        assert used <= known, path


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
