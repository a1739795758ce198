"""Peak memory of in-silico mutagenesis at the width of Sei: 3,000 mutants and 22,000 outputs.

    python benchmarks/wide.py                  # 3 draws: some minutes
    python benchmarks/wide.py --mutants 180    # the same memory: finished mutants are on the disk
    python benchmarks/wide.py --deepsea --engine incremental --draws 15    # DeepSEA, 919 outputs

The network is small and wide: what is measured is the memory for the outputs of the mutants, from the
summaries to the HDF5 file. It is the peak of the process minus what it held with the model loaded. The
program fails if that is a gigabyte or more. For DeepSEA (random weights)
there is no limit: the engine holds weights of its own.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

LIMIT_GB = 1.0
LENGTH, OUTPUTS = 1000, 22_000  # bp; Sei has 21,907 outputs


def resident_bytes() -> int:
    """What the process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """The most that the process held; not ru_maxrss, which begins with what its parent had."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--mutants", type=int, default=3 * LENGTH)
    parser.add_argument("--outputs", type=int, default=OUTPUTS)
    parser.add_argument("--deepsea", action="store_true", help="this network, not the small one")
    parser.add_argument("--engine", default="full", choices=["auto", "full", "incremental"])
    parser.add_argument("--memory", type=float, help="GB for activations")
    options = parser.parse_args()

    import numpy as np
    import torch
    from torch import nn

    import kipoi_mcdropout as mcd

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(4, 8, 8), nn.ReLU(), nn.MaxPool1d(8), nn.Flatten(), nn.Linear(8 * 124, 16), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(16, options.outputs), nn.Sigmoid(),
    )  # fmt: skip
    x = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (1, LENGTH))]
    if options.deepsea:
        from networks import build

        net, options.outputs = build("deepsea", 0), 919
    shape = (4, 1, LENGTH) if options.deepsea else (4, LENGTH)
    window = mcd.MutationOptions(end=options.mutants // 3)
    memory = None if options.memory is None else int(options.memory * 1e9)
    running = mcd.RunOptions(engine=options.engine, memory_bytes=memory)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.h5"
        model = mcd.Model(net, input_shape=shape)
        sequence = x.transpose(0, 2, 1).reshape(1, *shape).copy()
        # What is loaded once is no matter of size.
        first = mcd.MutationOptions(end=1)
        mcd.ism(model, sequence, n_draws=2, options=first, output=Path(folder) / "first.h5")
        before, begin = resident_bytes(), time.perf_counter()
        mcd.ism(model, sequence, n_draws=options.draws, options=window, output=path, running=running)
        seconds, above = time.perf_counter() - begin, (peak_bytes() - before) / 1e9
        size = path.stat().st_size / 1e9
    print(
        f"{options.mutants} mutants, {options.outputs} outputs, {options.draws} draws, engine "
        f"{options.engine}: peak {above:.2f} GB above the loaded model, {peak_bytes() / 1e9:.2f} in "
        f"all, file {size:.2f} GB, {seconds:.0f} s"
    )
    return 0 if above < LIMIT_GB or options.deepsea else 1


if __name__ == "__main__":
    sys.exit(main())
