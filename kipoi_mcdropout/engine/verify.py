"""Check a fast engine against the oracle on a sample of what it computes, while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.arrays.nested import Nested, take
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine.full import DrawBlock, Engine, to_tensors
from kipoi_mcdropout.errors import BatchDependenceError, ModelError
from kipoi_mcdropout.sequence.mutants import MutantBatch

_ROUNDING = 3.0  # times the model's own rounding error is accepted too
_GROUP = 4  # mutants of one draw that are recomputed together
_STREAM_TAG = 0x766572696679  # "verify"
_TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}
_COARSE = 1e-2  # for types that are less precise than float32


class EngineMismatchError(ModelError):
    """A fast engine disagrees with the plain forward pass under the same masks."""

    stops_the_run = True


def tolerance(dtype: torch.dtype, eps: float = 0.0) -> float:
    """Largest accepted difference, in units of the output's scale: 1e-5 in float32.

    Parameters
    ----------
    dtype : torch.dtype
        Of the outputs.
    eps : float
        Relative precision of the model's arithmetic (`LockedModel.eps`), where it is less.
    """
    eps = max(eps, torch.finfo(dtype).eps)
    known = [limit for other, limit in _TOLERANCES.items() if eps <= torch.finfo(other).eps]
    return known[0] if known else _COARSE


def is_rounding(got: Tensor, expected: Tensor, exact: Tensor) -> bool:
    """Whether `got` is about as near to the result in float64 as the model itself is."""
    return relative_error(got, exact) <= _ROUNDING * relative_error(expected, exact)


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Largest difference in units of the largest expected value; infinite where NaN or inf differ."""
    finite = torch.isfinite(expected)
    if got.shape != expected.shape or not torch.equal(finite, torch.isfinite(got)):
        return float("inf")
    if not finite.any():
        return 0.0
    scale = expected[finite].abs().max().clamp(min=torch.finfo(expected.dtype).tiny)
    return float((got[finite] - expected[finite]).abs().max() / scale)


class VerifyingEngine:
    """Passes on the blocks of another engine after checking a sample of them.

    Parameters
    ----------
    engine : Engine
    model : LockedModel
    masks : MaskBank
        The same that the engine uses.
    share : float
        Share of the (mutant, draw) pairs that are recomputed, at least one group of a few. At the
        default this costs less than 1 % where the engine is at most 30 times faster than the oracle.
    """

    def __init__(
        self, engine: Engine, model: LockedModel, masks: MaskBank, share: float = 0.0003
    ) -> None:
        self.engine, self.model, self.masks, self.share = engine, model, masks, share
        self.n_checked = 0
        self.largest_error = 0.0

    def run(
        self, batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        """See `Engine.run`.

        Raises
        ------
        EngineMismatchError
            If a recomputed output differs by more than `tolerance` of the output's scale, and by more
            than three times what rounding does to the model itself.
        """
        sample = self._sample(batch, len(draws))
        begin = done = -1
        for block in self.engine.run(batch, draws, selected):
            if block.mutants.start != begin:
                begin, done = block.mutants.start, 0
            for i in range(len(block.alt)):
                mutants = sample.get(done + i, np.empty(0, np.int64))
                inside = mutants[(mutants >= block.mutants.start) & (mutants < block.mutants.stop)]
                if len(inside):
                    self._check(batch, block, i, draws[done + i], inside, selected)
            done += len(block.alt)
            yield block

    def _is_rounding(
        self,
        batch: MutantBatch,
        draw: int,
        selected: Tensor | None,
        got: Tensor,
        expected: Tensor,
    ) -> bool:
        """Whether the model's own float32 is no nearer to float64 (in a deep network it may not be)."""
        precise = getattr(self.engine, "precise_outputs", None)
        exact = None if precise is None else precise(batch, draw, selected)
        return exact is not None and is_rounding(got, expected, exact)

    def _refuse_batch_mates(
        self, inputs: Nested, expected: Tensor, draw: int, scope: int, selected: Tensor | None
    ) -> None:
        """ModelError if the model itself gives other outputs for the same inputs one by one."""
        rows = [take(inputs, slice(i, i + 1)) for i in range(len(expected))]
        outputs = [self.model.outputs(row, draw, self.masks, scope, selected) for row in rows]
        error = relative_error(torch.cat(outputs), expected)
        if not error <= 10 * tolerance(expected.dtype):
            raise BatchDependenceError(
                "the model's output for an input depends on the other inputs of its batch: alone and "
                f"together with others it differs by {error:.2g} of the output's scale. Effects have no "
                "meaning then, with any engine. Look for statistics over the batch in the model (batch "
                "norm in training mode or without running statistics, a mean over the batch axis)"
            )

    def _sample(self, batch: MutantBatch, n_draws: int) -> dict[int, np.ndarray]:
        """Mutants to be recomputed by the number of their draw; the same for the same data."""
        total = batch.n_mutants * n_draws
        groups = max(1, round(self.share * total / _GROUP)) if total else 0
        content = int(batch.codes[:4].astype(np.int64).sum()) + batch.scope
        random = np.random.Generator(
            np.random.Philox(key=[(self.masks.seed + content) % 2**64, _STREAM_TAG])
        )
        sample: dict[int, np.ndarray] = {}
        for _ in range(groups):
            draw = int(random.integers(n_draws))
            first = int(random.integers(batch.n_mutants))
            mutants = (first + np.arange(min(_GROUP, batch.n_mutants))) % batch.n_mutants
            sample[draw] = np.unique(np.concatenate([sample.get(draw, mutants[:0]), mutants]))
        return sample

    def _check(
        self,
        batch: MutantBatch,
        block: DrawBlock,
        i: int,
        draw: int,
        mutants: np.ndarray,
        selected: Tensor | None,
    ) -> None:
        picked = replace(batch, owner=batch.owner[mutants], codes=batch.codes[mutants])
        inputs = to_tensors(picked.inputs(slice(0, len(mutants))), self.model.device)
        expected = self.model.outputs(inputs, draw, self.masks, batch.scope, selected)
        got = block.alt[i, torch.from_numpy(mutants - block.mutants.start).to(block.alt.device)]
        error = relative_error(got, expected)
        self.n_checked += len(mutants)
        self.largest_error = max(self.largest_error, error)
        limit = tolerance(expected.dtype, self.model.eps)
        if not error <= limit and not self._is_rounding(
            picked, draw, selected, got, expected
        ):
            self._refuse_batch_mates(inputs, expected, draw, batch.scope, selected)
            what = "the prediction with dropout off" if draw == POINT else f"draw {draw}"
            raise EngineMismatchError(
                f"the fast engine differs from the model by {error:.2g} of the output's scale in {what} "
                f"for mutants {', '.join(map(str, mutants))}; required at most "
                f"{limit:g}. Use the engine 'full', and report the model"
            )
