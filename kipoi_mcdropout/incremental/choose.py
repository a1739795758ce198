"""Which engine runs: the incremental one where it is right and pays, else the plain one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.engine import DrawBlock, Engine, FullEngine
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.forward import POINT, LockedModel, MaskBank
from kipoi_mcdropout.incremental.capture import CaptureError
from kipoi_mcdropout.incremental.engine import DEFAULT_MEMORY_BYTES, IncrementalEngine
from kipoi_mcdropout.incremental.plan import plan_cost
from kipoi_mcdropout.incremental.verify import VerifyingEngine, is_rounding, relative_error, tolerance
from kipoi_mcdropout.mutants import MutantBatch
from kipoi_mcdropout.nested import leaves, take

ENGINES = ("auto", "incremental", "full")
_TRIAL_MUTANTS = 24
# The choice is a function of the model and the batch alone: were it timed, a resumed or sharded run
# could choose otherwise and differ in the last digits. Both numbers were set on benchmarks/networks.py.
_MUST_GAIN = 0.6  # largest estimated share of the cost of whole inputs
_MUST_WORK = 1e9  # floating point operations per draw below which the bookkeeping costs more


def make_engine(
    model: LockedModel,
    masks: MaskBank,
    batch_size: int = 32,
    engine: str = "auto",
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    verify: bool = False,
) -> Engine:
    """An engine by name.

    Parameters
    ----------
    model : LockedModel
    masks : MaskBank
    batch_size : int
        Inputs in one forward pass, where whole inputs are computed.
    engine : str
        "incremental", "full", or "auto": the incremental engine where it agrees with the plain one on
        a few mutants and its estimated cost is clearly lower, else the plain one.
    memory_bytes : int
        What the incremental engine may hold at a time, about, above the weights.
    verify : bool
        Recompute a sample of what the incremental engine gives by the plain forward pass, and raise
        EngineMismatchError if it differs.

    Raises
    ------
    InputError
        If there is no such engine.
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}; got {engine!r}")
    full = FullEngine(model, masks, batch_size)
    if engine == "full":
        return full
    incremental = IncrementalEngine(model, masks, batch_size, memory_bytes)
    chosen = incremental if engine == "incremental" else AutoEngine(incremental, full)
    return VerifyingEngine(chosen, model, masks) if verify else chosen


@dataclass(frozen=True)
class Choice:
    """What `AutoEngine` decided for inputs of one shape, and why."""

    engine: str
    reason: str


class AutoEngine:
    """Takes the incremental engine where it is estimated to pay and passes a trial on a few mutants."""

    def __init__(self, incremental: IncrementalEngine, full: FullEngine) -> None:
        self.incremental, self.full = incremental, full
        self.choices: dict[Any, Choice] = {}

    def run(
        self, batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        """See `Engine.run`."""
        if batch.n_mutants and self.choice(batch, draws).engine == "incremental":
            return self.incremental.run(batch, draws, selected)
        return self.full.run(batch, draws, selected)

    def choice(self, batch: MutantBatch, draws: Sequence[int]) -> Choice:
        """The engine for inputs of this shape, decided once."""
        crowded = len(batch.reference_codes) * 4 > batch.n_mutants
        point_only = all(draw == POINT for draw in draws)
        key = (
            crowded,
            point_only,
            *((p, x.shape[1:], str(x.dtype)) for p, x in leaves(batch.references)),
        )
        if key not in self.choices:
            self.choices[key] = self._decide(batch, draws, crowded)
        return self.choices[key]

    def _decide(self, batch: MutantBatch, draws: Sequence[int], crowded: bool) -> Choice:
        few = some_mutants(batch, _TRIAL_MUTANTS)
        point_only = all(draw == POINT for draw in draws)
        trial = [*dict.fromkeys((draws[0], draws[-1]))]
        try:
            mine, full = plan_cost(self.incremental.compiled(batch, point_only).plan)
            full = max(full, 1.0)
            # References are run whole by both engines; many of them have one mutant or two each.
            estimate = (mine + full) / (2 * full) if crowded else mine / full
            words = f"estimated at {estimate:.2f} of the cost of whole inputs"
            if not crowded and full * batch.n_mutants < _MUST_WORK:
                return Choice("full", f"{words}, but these are few operations")
            if estimate >= _MUST_GAIN:
                return Choice("full", words)
            result = _last_outputs(self.incremental, few, trial)
        except CaptureError as error:
            return Choice("full", f"the model cannot be captured: {error}")
        except (RuntimeError, ValueError, LookupError, TypeError, ArithmeticError) as error:
            return Choice("full", f"the trial failed ({type(error).__name__}: {error})")
        expected = _last_outputs(self.full, few, trial)
        difference = relative_error(result, expected)
        if not difference <= tolerance(expected.dtype) and not self._is_rounding(
            few, trial, result, expected
        ):
            return Choice("full", f"the trial differs by {difference:.2g} of the output's scale")
        return Choice("incremental", words)

    def _is_rounding(self, batch: MutantBatch, draws: list[int], got: Tensor, expected: Tensor) -> bool:
        n = len(batch.reference_codes)
        for i, draw in enumerate(draws):
            exact = self.incremental.precise_outputs(batch, draw)
            if exact is None or not is_rounding(got[i, n:], expected[i, n:], exact):
                return False
        return True

    def precise_outputs(
        self, batch: MutantBatch, draw: int, selected: Tensor | None = None
    ) -> Tensor | None:
        """See IncrementalEngine."""
        return self.incremental.precise_outputs(batch, draw, selected)


def engine_words(engine: object) -> list[str]:
    """What an engine has decided, and why, for each shape of inputs that it has seen."""
    inner = getattr(engine, "engine", engine)  # of one that verifies
    return [f"{c.engine}, {c.reason}" for c in getattr(inner, "choices", {}).values()]


def some_mutants(batch: MutantBatch, n: int) -> MutantBatch:
    """A batch of mutants spread evenly over the given ones, with the references they need."""
    rows = np.unique(np.linspace(0, batch.n_mutants - 1, n).round().astype(np.int64))
    owners, owner = np.unique(batch.owner[rows], return_inverse=True)
    return replace(
        batch,
        references=take(batch.references, owners),
        reference_codes=batch.reference_codes[owners],
        owner=owner.ravel().astype(np.int64),
        codes=batch.codes[rows],
    )


def _last_outputs(engine: Engine, batch: MutantBatch, draws: Sequence[int]) -> Tensor:
    """Outputs of mutants and references, (draws, rows, outputs)."""
    blocks = list(engine.run(batch, draws))
    by_slice: dict[int, list[Tensor]] = {}
    for block in blocks:
        by_slice.setdefault(block.mutants.start, []).append(block.alt)
    alt = torch.cat([torch.cat(parts) for parts in by_slice.values()], dim=1)
    first = next(iter(by_slice))
    ref = torch.cat([block.ref for block in blocks if block.mutants.start == first])
    return torch.cat([ref, alt], dim=1)
