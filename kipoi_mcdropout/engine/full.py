"""The interface of an engine, and the full engine: mini-batches of whole inputs, draw by draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.arrays.nested import Nested, map_nested, take
from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.shared_passes import SharedPasses
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.mutants import MutantBatch, chunks

DEFAULT_MEMORY_BYTES = 1_000_000_000


class DrawBlock(NamedTuple):
    """Outputs of some mutants and of all references for consecutive draws."""

    mutants: slice
    ref: Tensor  # shape=(draws, references, outputs)
    alt: Tensor  # shape=(draws, mutants, outputs)


class Engine(Protocol):
    """Runs the model on references and mutants under the masks of given draws.

    The blocks of one slice of mutants come one after another and cover the draws in order; the
    slices cover all mutants.
    """

    def run(
        self, batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        """Yield the outputs (columns `selected`) for the draws, each a number from 0 or POINT."""
        ...


def to_tensors(inputs: Nested, device: torch.device) -> Nested:
    """Numpy arrays as tensors on a device, of the same dtype, as Kipoi hands them to the model."""
    return map_nested(lambda x: torch.from_numpy(np.array(x)).to(device), inputs)


def check_batch_size(batch_size: Any) -> None:
    """Raise InputError unless it is None or an integer from 1 on."""
    if batch_size is None:
        return
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise InputError(f"batch_size must be an integer; got {batch_size!r}")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1; got {batch_size}")


class FullEngine:
    """Runs every mutant through the whole model in every draw, in mini-batches.

    What comes before the first dropout is run once for a mini-batch, and serves all its draws.

    Parameters
    ----------
    model : LockedModel
        Within `borrow()` while running.
    masks : MaskBank
    batch_size : int, optional
        Inputs in one forward pass; by default `LockedModel.fitting`.
    memory_bytes : int
        For what is kept for the other draws of a mini-batch, and for the activations that the default
        of `batch_size` allows.
    """

    def __init__(
        self,
        model: LockedModel,
        masks: MaskBank,
        batch_size: int | None = None,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
    ) -> None:
        self.model = model
        self.masks = masks
        self.batch_size = batch_size
        self.memory_bytes = memory_bytes

    def run(
        self, batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        """See `Engine.run`: a block per mini-batch and draw."""
        device = self.model.device

        def outputs(inputs: Nested) -> Iterator[Tensor]:
            shared = SharedPasses(self.memory_bytes) if len(draws) > 1 else None
            for draw in draws:
                yield self.model.outputs(inputs, draw, self.masks, batch.scope, selected, shared)

        references = to_tensors(batch.references, device)
        size = self.batch_size or self.model.fitting(references, self.memory_bytes)
        slices = chunks(len(batch.reference_codes), size)
        ref = torch.cat([torch.stack(list(outputs(take(references, rows)))) for rows in slices], dim=1)
        for rows in chunks(batch.n_mutants, size):
            inputs = to_tensors(batch.inputs(rows), device)
            for i, alt in enumerate(outputs(inputs)):
                yield DrawBlock(rows, ref[i : i + 1], alt[None])
