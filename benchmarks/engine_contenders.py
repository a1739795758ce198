"""What `engine.py` times. Each contender is made from a network once and returns a portion of work.

A portion is a callable that does some (mutant, draw) pairs and returns how many. This file is run by
two interpreters, ours and that of tangermeme's own environment, and imports what it needs inside.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Portion = Callable[[], int]


def load(network: str, sizes: str) -> Any:
    """A network with random weights, or the trained one."""
    if network == "trained":
        from wide_example import trained

        return trained()
    from networks import build

    return build(network, seed=0, **json.loads(sizes)).eval()


def references(model: Any, n: int) -> Any:
    """One-hot sequences: of the synthetic genome for the trained network, else random ones."""
    if type(model).__name__ == "WideExample":
        import wide_example

        return wide_example.sequences(n)
    from networks import random_sequences

    return random_sequences(model, n, seed=1)


def sequences(model: Any, n_references: int, n_mutants: int) -> Any:
    """Mutants spread evenly over all substitutions of each of some sequences."""
    import numpy as np

    from kipoi_mcdropout.sequence.mutants import MutantBatch, all_substitutions, substituted
    from kipoi_mcdropout.sequence.one_hot import OneHotLayout

    x = references(model, n_references)
    layout = OneHotLayout.of(x, model.category_axis)
    codes = layout.codes(x)
    mutants, owner = [], []
    for row in range(n_references):
        edits = all_substitutions(codes[row], layout.n_categories)
        middle = len(edits.position) // 2
        chosen = np.linspace(0, len(edits.position) - 1, n_mutants).round().astype(int)
        chosen = np.unique(chosen) if n_references == 1 else np.arange(middle, middle + n_mutants)
        mutants.append(substituted(codes[row], edits.position[chosen], edits.alt[chosen]))
        owner += [row] * len(chosen)
    batch = MutantBatch(x, None, layout, codes, np.asarray(owner), np.concatenate(mutants))
    return batch


def incremental(model: Any, options: argparse.Namespace) -> Portion:
    """Ours: all draws of all mutants; the model is captured before the clock starts."""
    return _engine(model, options, sequences(model, 1, options.mutants), list(range(options.draws)))


def point(model: Any, options: argparse.Namespace) -> Portion:
    """Ours with dropout off."""
    return _engine(model, options, sequences(model, 1, options.mutants), [-1])


def variants(model: Any, options: argparse.Namespace) -> Portion:
    """Ours for variants far apart: one mutant for each reference, 10 draws."""
    return _engine(model, options, sequences(model, options.variants, 1), list(range(10)))


def _engine(model: Any, options: argparse.Namespace, batch: Any, draws: list[int]) -> Portion:
    from kipoi_mcdropout.dropout.locked_model import LockedModel
    from kipoi_mcdropout.dropout.mask_bank import MaskBank
    from kipoi_mcdropout.engine import IncrementalEngine

    locked, bank = LockedModel(model), MaskBank(0)
    engine = IncrementalEngine(locked, bank, memory_bytes=int(options.memory * 1e9))
    with locked.borrow():
        engine.compiled(batch)

    def run() -> int:
        with locked.borrow():
            for _ in engine.run(batch, draws):
                pass
        return batch.n_mutants * len(draws)

    return run


def plain(model: Any, options: argparse.Namespace) -> Portion:
    """Batched torch with live dropout, in inference mode, at its best batch size."""
    return _plain(model, options, paired=False)


def plain_pairs(model: Any, options: argparse.Namespace) -> Portion:
    """The same for variants: the reference and the variant are both run in every draw."""
    return _plain(model, options, paired=True)


def _plain(model: Any, options: argparse.Namespace, paired: bool) -> Portion:
    import torch
    from torch import nn

    batch = sequences(model, 1, max(64, options.plain_mutants))
    for part in model.modules():
        part.training = isinstance(part, nn.modules.dropout._DropoutNd)

    def loop(size: int, stop: int) -> None:
        with torch.inference_mode():
            for begin in range(0, stop, size):
                model(torch.from_numpy(batch.inputs(slice(begin, min(begin + size, stop)))))

    def seconds(size: int) -> float:
        loop(size, size)
        start = time.perf_counter()
        loop(size, 64)
        return time.perf_counter() - start

    best = min((16, 32, 64), key=seconds)
    n = options.plain_mutants

    def run() -> int:
        loop(best, n)
        return n // 2 if paired else n

    return run


def mutation(model: Any, options: argparse.Namespace) -> Portion:
    """kipoi-interpret's `Mutation`, dropout off."""
    import itertools
    from types import SimpleNamespace

    from kipoi.model import PyTorchModel
    from kipoi_interpret.importance_scores.ism import Mutation

    class Loaded(PyTorchModel):
        def __init__(self) -> None:
            self.model, self.use_cuda = model, False
            self.schema = SimpleNamespace(inputs=SimpleNamespace(name="seq"))

    class Some(Mutation):
        def _mutate_sample(self, onehot_input: Any) -> Any:
            return itertools.islice(super()._mutate_sample(onehot_input), options.plain_mutants)

    scorer = Some(Loaded(), "seq", scores=["diff"], category_axis=model.category_axis)
    x = references(model, 1)

    def run() -> int:
        scorer.score(x)
        return options.plain_mutants

    return run


def tangermeme(model: Any, options: argparse.Namespace) -> Portion:
    """Tangermeme's fast path (fastISM) for one draw, masks baked in as constants.

    Captured and checked by tangermeme before the clock starts; its rule to take the slow path for
    jobs under 30 s is switched off.
    """
    import importlib

    import torch
    from torch import nn

    module = importlib.import_module("tangermeme.saturation_mutagenesis")
    module._FAST_MIN_SECONDS = 0.0

    class Baked(nn.Module):
        def __init__(self, p: float) -> None:
            super().__init__()
            self.p, self.mask = p, None

        def forward(self, x: Any) -> Any:
            if self.mask is None:
                self.mask = (torch.rand(1, *x.shape[1:]) >= self.p) / (1 - self.p)
            return x * self.mask

    class Flat(nn.Module):  # tangermeme hands over (n, 4, length)
        def __init__(self) -> None:
            super().__init__()
            self.body = model

        def forward(self, x: Any) -> Any:
            shape = model.input_shape
            if model.category_axis == len(shape) - 1:
                x = x.transpose(1, 2)
            return self.body(x.reshape(-1, *shape))

    for part in list(model.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(part, name, Baked(child.p))
    net = Flat().eval()
    x = torch.from_numpy(references(model, 1))
    x = x.reshape(model.input_shape) if x.dim() == 0 else x
    axis = model.category_axis + 1
    flat = x.movedim(axis, 1).reshape(1, 4, -1)
    with torch.no_grad():
        net(flat.float())
    flat = flat.to(torch.int8)
    end = flat.shape[-1]
    fast, _, _ = module._fast_path(net, flat, None, 0, end, 64, None, "cpu", None)
    if fast is None:
        raise SystemExit("tangermeme does not take its fast path for this model")
    _, chars, positions = module._single_edits(flat[0], 0, end)
    step = max(1, len(chars) // options.mutants)
    chars, positions = chars[::step], positions[::step]

    def run() -> int:
        with torch.no_grad():
            fast.predict_edits(0, chars, positions, 64, None)
        return len(chars)

    return run


CONTENDERS: dict[str, Callable[[Any, argparse.Namespace], Portion]] = {
    f.__name__: f for f in (incremental, point, variants, plain, plain_pairs, mutation, tangermeme)
}


def status_bytes(field: str) -> int:
    """A figure of this process from /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def work(name: str, options: argparse.Namespace) -> None:
    """A contender's process: load the network, then a portion for each line that comes in."""
    import torch

    torch.set_num_threads(options.threads)
    model = load(options.network, options.sizes)
    loaded = status_bytes("VmRSS")
    portion = CONTENDERS[name](model, options)
    print("READY", flush=True)
    for _ in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5")
        start, cpu = time.perf_counter(), time.process_time()
        pairs = portion()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        print("RESULT " + json.dumps([seconds, cpu, pairs, status_bytes("VmHWM") - loaded]), flush=True)


if __name__ == "__main__":
    work(sys.argv[1], argparse.Namespace(**json.loads(sys.argv[2])))
