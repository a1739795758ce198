"""Memory of a run does not grow with mutants x outputs: measured at the width of Sei."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

MEASURE = """
import json, resource, sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from kipoi_mcdropout.plugin.mutation import MCDropoutISM
from kipoi_mcdropout.runs.ism import IsmPaths, run_ism
from kipoi_mcdropout.runs.ism.units import ism_units
from kipoi_mcdropout.runs.schedule import InProcess, Work
import kipoi_mcdropout.files.hdf5

LENGTH, OUTPUTS = 1000, 22_000
net = nn.Sequential(
    nn.Conv1d(4, 8, 8), nn.ReLU(), nn.MaxPool1d(8), nn.Flatten(), nn.Linear(8 * 124, 16), nn.ReLU(),
    nn.Dropout(0.5), nn.Linear(16, OUTPUTS), nn.Sigmoid(),
)
x = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (1, LENGTH))]
x = x.transpose(0, 2, 1).copy()

def ism(end):
    model = SimpleNamespace(model=net, schema=None)
    return MCDropoutISM(model, None, category_axis=0, n_draws=3, engine="full", end=end).mutagenesis

whole = ism(LENGTH)
(sequence,) = whole.sequences(x)
n_blocks = len(whole.blocks(sequence))
part = ism(60)
part.targets(x)
before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
paths = IsmPaths.check([Path(sys.argv[1]) / "out.h5"], False)
work = Work(lambda task: task.run(part))
record = {"versions": {}, "options": {}, "n_draws": 3}
mutants = []
run_ism(
    ism_units([{"inputs": x}], part), work, InProcess(), paths, record,
    done=lambda block, first: mutants.append(len(block.effects.substitutions.position)),
)
# Not ru_maxrss: that of a child begins with what its parent had.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) * 1024
print(json.dumps({"blocks": n_blocks, "mutants": mutants, "above": peak - before}))
"""


def test_22_000_outputs_need_less_than_a_gigabyte(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["mutants"] == [*[33] * 5, 15], "blocks of whole positions"
    assert found["blocks"] == 91, "of 3,000 mutants: what a block holds depends on the outputs alone"
    assert 3e7 < found["above"] < 5e8, found
    assert os.listdir(tmp_path) == ["out.h5"]
