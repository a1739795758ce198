"""The job script of the documentation, run as SLURM runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from run_world import make_world

SCRIPT = ROOT / "docs" / "how_to" / "workflows" / "score_variants.slurm"
KIPOI = Path(sys.executable).with_name("kipoi")


@pytest.mark.skipif(not KIPOI.exists(), reason="the command kipoi is not installed here")
def test_an_array_of_three_and_the_merge(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    environment = {
        **os.environ, "MODEL": str(world.model), "N_DRAWS": "3", "SLURM_ARRAY_TASK_COUNT": "3",
        "PATH": f"{KIPOI.parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    for task in (3, 1, 2):
        subprocess.run(
            ["bash", str(SCRIPT), str(world.vcf), str(world.fasta), "out"],
            check=True, cwd=tmp_path, env={**environment, "SLURM_ARRAY_TASK_ID": str(task)},
        )  # fmt: skip
    merge = SCRIPT.read_text().split('--wrap="')[1].split('"')[0]
    subprocess.run(merge, shell=True, check=True, cwd=tmp_path, env=environment)
    lines = (tmp_path / "out.vcf.gz").is_file(), (tmp_path / "out.parquet").is_file()
    assert lines == (True, True)
    skipped = (tmp_path / "out.skipped.tsv").read_text().splitlines()
    assert len(skipped) == 1 + sum("<DEL>" in line for line in world.vcf.read_text().splitlines())
