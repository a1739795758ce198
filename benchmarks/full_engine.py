"""What makes whole inputs cheaper: the part before the first dropout, more rows a pass, bfloat16.

    python benchmarks/full_engine.py shared     # that part once for all draws, against once a draw
    python benchmarks/full_engine.py rows       # time of an input in passes of 8, 32 and 128 inputs
    python benchmarks/full_engine.py bfloat16   # against float32: time, and what it rounds

Times are of the processor; ratios are medians of turns in which both are timed one after the other.
"enformer" is that of models.py, and needs enformer-pytorch.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from engine_contenders import sequences
from models import enformer
from networks import NETWORKS, build

from kipoi_mcdropout.dropout.autocast import Autocast
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine.dtype_check import check_dtype_error
from kipoi_mcdropout.engine.full import DEFAULT_MEMORY_BYTES, FullEngine, to_tensors
from kipoi_mcdropout.sequence.mutants import MutantBatch

SIZES = (8, 32, 128)


class Enformer(torch.nn.Module):
    """The small Enformer of models.py, with what `sequences` looks at."""

    input_shape, category_axis = (2048, 4), 1

    def __init__(self) -> None:
        super().__init__()
        self.net = enformer()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.net(x)


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return Enformer().eval() if name == "enformer" else build(name, 0)


def seconds(call: Callable[[], object]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def ratio(one: Callable[[], object], other: Callable[[], object], turns: int) -> float:
    """Median of the time of `one` in units of that of `other`."""
    return statistics.median(seconds(one) / seconds(other) for _ in range(turns))


def shared(model: LockedModel, batch: MutantBatch, options: argparse.Namespace) -> str:
    def run(memory_bytes: int) -> None:
        engine = FullEngine(model, MaskBank(0), 32, memory_bytes)
        for _ in engine.run(batch, [POINT, *range(options.draws)]):
            pass

    run(DEFAULT_MEMORY_BYTES)  # what is shared is found once
    found = ratio(lambda: run(DEFAULT_MEMORY_BYTES), lambda: run(0), options.turns)
    return f"{found:.2f} of the time without sharing, {options.draws} draws"


def rows(model: LockedModel, batch: MutantBatch, options: argparse.Namespace) -> str:
    x = to_tensors(batch.inputs(slice(0, max(SIZES))), torch.device("cpu"))
    masks = MaskBank(0)
    took: dict[int, list[float]] = {n: [] for n in SIZES}
    for _ in range(options.turns):
        for n in SIZES:
            parts = x.split(n)
            took[n].append(seconds(lambda p=parts: [model.outputs(part, 0, masks) for part in p]))
    return ", ".join(
        f"{n}: {1e3 * statistics.median(times) / len(x):.2f} ms" for n, times in took.items()
    )


def bfloat16(model: LockedModel, batch: MutantBatch, options: argparse.Namespace) -> str:
    masks, autocast = MaskBank(0), model.autocast
    x = to_tensors(batch.inputs(slice(0, 32)), torch.device("cpu"))

    def run(dtype: str) -> None:
        autocast.dtype = dtype
        model.outputs(x, 0, masks)

    run("bfloat16")
    found = ratio(lambda: run("bfloat16"), lambda: run("float32"), options.turns)
    autocast.dtype = "bfloat16"
    return f"{found:.2f} of the time of float32; {check_dtype_error(model, masks, batch, range(8))}"


WHAT = {"shared": shared, "rows": rows, "bfloat16": bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=WHAT)
    names = (*NETWORKS, "enformer")
    parser.add_argument("--networks", nargs="+", default=names, choices=names)
    parser.add_argument("--mutants", type=int, default=64)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    for name in options.networks:
        net = network(name)
        dtype = "bfloat16" if options.what == "bfloat16" else "float32"
        model = LockedModel(net, autocast=Autocast(net, dtype))
        n_mutants = {"rows": max(SIZES), "bfloat16": 32}.get(options.what, options.mutants)
        batch = sequences(net, 1, n_mutants)
        with model.borrow():
            model.plan(to_tensors(batch.references, torch.device("cpu")))
            print(f"{name:22} {WHAT[options.what](model, batch, options)}", flush=True)


if __name__ == "__main__":
    main()
