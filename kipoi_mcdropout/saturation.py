"""Saturation mutagenesis of whole sequences: every substitution's effect with its uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.effects import EffectOptions, EffectSummary, concatenate, summarize_effects
from kipoi_mcdropout.encoding import DNA, OneHotLayout
from kipoi_mcdropout.engine import Engine
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.forward import MaskBank
from kipoi_mcdropout.incremental.choose import DEFAULT_MEMORY_BYTES, make_engine
from kipoi_mcdropout.kipoi_model import KipoiModel
from kipoi_mcdropout.masks import RUN_SCOPE, check_seed
from kipoi_mcdropout.mutants import (
    MutantBatch,
    Substitutions,
    all_substitutions,
    chunks,
    get_input,
    sequence_scope,
    substituted,
)
from kipoi_mcdropout.nested import Nested, leaves, map_nested, n_rows, take
from kipoi_mcdropout.outputs import Targets
from kipoi_mcdropout.sites import SitePlan

MASK_SCOPES = ("run", "sequence")
_SUMMARY_BYTES = 512 * 2**20  # of statistics held at a time, per sequence and chunk of mutants


@dataclass(frozen=True)
class IsmOptions:
    """What is mutated and how.

    `start` and `end` are the window of positions, 0-based and half-open. Under `mask_scope` "run" all
    sequences of a draw see the same masks; under "sequence" each has its own, made from its content.
    `engine` is "auto", "incremental" or "full" (`incremental.make_engine`), `memory_bytes` what the
    incremental one may hold above the weights; with `verify` a sample of what it computes is compared
    with the plain forward pass. `alphabet` are the letters of the categories, in order.
    """

    model_input: Any
    effects: EffectOptions
    seed: int = 0
    targets: tuple[str | int, ...] = ()
    category_axis: int = 1
    start: int = 0
    end: int | None = None
    include_reference: bool = False
    mask_scope: str = "run"
    batch_size: int = 32
    engine: str = "auto"
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    verify: bool = True
    alphabet: str = DNA

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.mask_scope not in MASK_SCOPES:
            raise InputError(f"mask_scope must be 'run' or 'sequence'; got {self.mask_scope!r}")
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, (int, np.integer)):
            raise InputError(f"batch_size must be an integer; got {self.batch_size!r}")
        if self.batch_size < 1:
            raise InputError(f"batch_size must be at least 1; got {self.batch_size}")


@dataclass
class SequenceEffects:
    """All substitutions of one sequence.

    `summaries` has one entry per score; their mutants are in the order of `substitutions`.
    """

    layout: OneHotLayout
    reference: NDArray[np.uint8]  # codes, shape=(positions,)
    window: tuple[int, int]  # positions mutated, 0-based and half-open
    substitutions: Substitutions
    targets: Targets
    summaries: list[EffectSummary]


class SaturationMutagenesis:
    """In-silico mutagenesis of one-hot encoded sequences under locked dropout.

    The model is borrowed for one sequence at a time, so that it is the user's between two results.
    """

    def __init__(self, model: KipoiModel, options: IsmOptions) -> None:
        self.model = model
        self.options = options
        masks = MaskBank(options.seed)
        self.engine: Engine = make_engine(
            model.locked, masks, options.batch_size, options.engine, options.memory_bytes, options.verify
        )
        self._targets: Targets | None = None

    def plan(self, inputs: Nested) -> SitePlan:
        """The model's dropout sites for inputs of this shape."""
        one = self.model.tensors(take(inputs, slice(0, 1)))
        with self.model.locked.borrow():
            return self.model.locked.plan_for(one, self.options.effects.n_draws)

    def targets(self, inputs: Nested) -> Targets:
        """The outputs that are reported."""
        if self._targets is None:
            with self.model.locked.borrow():
                outputs = self.model.example_outputs(inputs)
            self._targets = self.model.targets(outputs, self.options.targets)
        return self._targets

    def run(
        self, inputs: Nested, progress: Callable[[int, int], None] | None = None
    ) -> Iterator[SequenceEffects]:
        """Mutate each sequence of a batch.

        Parameters
        ----------
        inputs : nested numpy.ndarray
            All inputs of the model, batch first, as a Kipoi dataloader gives them.
        progress : callable, optional
            Called with the number of (mutant, draw) pairs just done and the sequence's total.

        Raises
        ------
        InputError
            If an input is missing, not one-hot, or of unequal length.
        """
        inputs = map_nested(np.asarray, inputs)
        key = self.model.input_key(self.options.model_input, inputs)
        sequences = get_input(inputs, key)
        _check_lengths(inputs)
        layout = OneHotLayout.of(sequences, self.options.category_axis, self.options.alphabet)
        codes = layout.codes(sequences)
        if len(codes):
            self.plan(inputs)
        for i in range(len(codes)):
            yield self._sequence(take(inputs, slice(i, i + 1)), key, layout, codes[i], progress)

    def _sequence(
        self,
        reference: Nested,
        key: Any,
        layout: OneHotLayout,
        codes: NDArray[np.uint8],
        progress: Callable[[int, int], None] | None,
    ) -> SequenceEffects:
        options, targets = self.options, self.targets(reference)
        end = layout.n_positions if options.end is None else options.end
        edits = all_substitutions(
            codes, layout.n_categories, options.start, end, options.include_reference
        )
        if len(edits.position) == 0:
            raise InputError(
                f"no position in the window {options.start}-{end} has a reference base to mutate: all "
                f"{len(edits.without_base)} are N. Choose another window with start and end"
            )
        scope = RUN_SCOPE
        if options.mask_scope == "sequence":
            scope = sequence_scope([x for _, x in leaves(reference)])
        total = len(edits.position) * (options.effects.n_draws + 1)

        def report(done: int) -> None:
            if progress is not None:
                progress(done, total)

        parts = []
        for rows in chunks(len(edits.position), self._chunk_size(layout, targets)):
            mutants = substituted(codes, edits.position[rows], edits.alt[rows])
            owner = np.zeros(len(mutants), np.int64)
            batch = MutantBatch(reference, key, layout, codes[None], owner, mutants, scope)
            with self.model.locked.borrow():
                parts.append(summarize_effects(self.engine, batch, targets, options.effects, report))
        summaries = [concatenate(pieces) for pieces in zip(*parts, strict=True)]
        return SequenceEffects(layout, codes, (options.start, end), edits, targets, summaries)

    def _chunk_size(self, layout: OneHotLayout, targets: Targets) -> int:
        """Mutants summarised at a time, from the sizes alone, so that every run has the same chunks."""
        effects = self.options.effects
        kept = effects.n_draws if effects.keep_draws or effects.quantiles else 0
        per_output = 8 * len(effects.scores) * (16 + kept)
        return max(1, _SUMMARY_BYTES // (len(targets.columns) * per_output + layout.n_positions))


def _check_lengths(inputs: Nested) -> None:
    n = n_rows(inputs)
    for path, leaf in leaves(inputs):
        if leaf.ndim == 0 or len(leaf) != n:
            raise InputError(
                f"all inputs must have the same number of sequences; the first has {n}, input {path!r} "
                f"has shape {leaf.shape}"
            )


def dense(effects: SequenceEffects, values: NDArray[Any], fill: float) -> NDArray[Any]:
    """Values per mutant laid out like the input: (mutants, ...) -> (*input shape, ...), else `fill`."""
    layout, edits = effects.layout, effects.substitutions
    table = np.full((layout.n_positions, layout.n_categories, *values.shape[1:]), fill, values.dtype)
    table[edits.position, edits.alt] = values
    others = [size for axis, size in enumerate(layout.shape) if axis != layout.category_axis]
    shaped = table.reshape(*others, layout.n_categories, *values.shape[1:])
    return np.moveaxis(shaped, len(others), layout.category_axis)
