"""Small batches of mutants, and the comparison with the oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import Choice, IncrementalEngine, Job, choose_engine
from kipoi_mcdropout.engine.full import Engine, FullEngine
from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.sequence.mutants import MutantBatch, all_substitutions, substituted
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

DRAWS = (POINT, 0, 1, 5)


def substitutions(
    length: int,
    references: int = 1,
    dtype: Any = np.float64,
    shape: tuple[int, ...] | None = None,
    category_axis: int = 0,
    only: int | None = None,
    seed: int = 0,
) -> MutantBatch:
    """All substitutions (or `only` so many, at random) of random sequences."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (references, length)).astype(np.uint8)
    mutants, owner = [], []
    for r in range(references):
        position, alt, _ = all_substitutions(codes[r], 4)
        if only is not None:
            picked = np.sort(rng.choice(len(position), min(only, len(position)), replace=False))
            position, alt = position[picked], alt[picked]
        mutants.append(substituted(codes[r], position, alt))
        owner += [r] * len(position)
    layout = OneHotLayout((4, length) if shape is None else shape, category_axis)
    return with_mutants(layout, codes, np.concatenate(mutants), owner, dtype)


def with_mutants(
    layout: OneHotLayout, references: Any, mutants: Any, owner: Sequence[int], dtype: Any = np.float64
) -> MutantBatch:
    """A batch of given codes."""
    encoded = layout.encode(references, np.dtype(dtype))
    return MutantBatch(encoded, None, layout, references, np.asarray(owner, np.int64), mutants)


def collect(engine: Engine, batch: MutantBatch, draws: Sequence[int]) -> tuple[Tensor, Tensor]:
    """All blocks of a run put together: (draws, references, outputs), (draws, mutants, outputs)."""
    ref: dict[int, Tensor] = {}
    alt: dict[int, list[Tensor]] = {}
    done: dict[int, int] = {}
    for block in engine.run(batch, draws):
        at = done.get(block.mutants.start, 0)
        for i in range(block.alt.shape[0]):
            ref[at + i] = block.ref[i]
            alt.setdefault(at + i, []).append(block.alt[i])
        done[block.mutants.start] = at + block.alt.shape[0]
    assert all(n == len(draws) for n in done.values())
    order = range(len(draws))
    return torch.stack([ref[i] for i in order]), torch.stack([torch.cat(alt[i]) for i in order])


class Comparison(NamedTuple):
    """What the incremental engine did, and its largest difference from the oracle."""

    error: float  # in units of the output's scale
    plan: Plan
    paths: Counter[str]  # see `SliceRun`


def compare(
    net: nn.Module, batch: MutantBatch, draws: Sequence[int] = DRAWS, **options: Any
) -> Comparison:
    """Run the incremental engine and the oracle on the same mutants and draws."""
    model, bank = LockedModel(net.eval()), MaskBank(3)
    with model.borrow():
        expected_ref, expected = collect(FullEngine(model, bank), batch, draws)
        engine = IncrementalEngine(model, bank, **options)
        ref, alt = collect(engine, batch, draws)
        plan = engine.compiled(batch).plan
    assert alt.shape == expected.shape
    scale = expected.abs().max().item()
    spread = (expected - expected_ref[:, batch.owner]).abs().max().item()
    assert spread > 1e-6 * scale, "the mutants do nothing; the test would prove nothing"
    differences = ((ref - expected_ref).abs().max().item(), (alt - expected).abs().max().item())
    return Comparison(float(np.max(differences)) / scale, plan, engine.paths)  # NaN stays NaN


def error_against_oracle(
    net: nn.Module, batch: MutantBatch, draws: Sequence[int] = DRAWS, **options: Any
) -> tuple[float, Plan]:
    """Largest difference from the oracle in units of the output's scale, and the plan."""
    return compare(net, batch, draws, **options)[:2]


def choose(model: LockedModel, batch: MutantBatch, n_draws: int = 4, n_references: int = 1) -> Choice:
    """What "auto" chooses for inputs of this shape and as many mutants as there are substitutions."""
    job = Job(3 * batch.layout.n_positions, n_draws, n_references)
    with model.borrow():
        return choose_engine(model, MaskBank(3), batch.references, batch.input_key, batch.layout, job)


def kinds(plan: Plan) -> dict[str, str]:
    """Kind of step by operation; of the last one where it occurs twice."""
    return {step.node.name: step.kind for step in plan.steps.values()}


class TwoLinearLayers(nn.Module):
    """Linear layers over all positions of the same windows, two and one of them after a ReLU again."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 5, 8)
        self.a, self.b = nn.Linear(5 * (length - 7), 3), nn.Linear(5 * (length - 7), 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(torch.relu(self.conv(x)), 0.4, True).flatten(1)
        return torch.cat([self.a(x), self.b(x), self.b(torch.relu(x))], 1)
