"""Saturation mutagenesis of whole sequences: every substitution's effect with its uncertainty."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.nested import Nested, leaves, n_rows, take
from kipoi_mcdropout.dropout.masks import RUN_SCOPE, check_seed
from kipoi_mcdropout.dropout.sites import SitePlan
from kipoi_mcdropout.effects.member_engines import MemberEngines, MemberSizes, Place
from kipoi_mcdropout.effects.members import summarize_members
from kipoi_mcdropout.effects.summary import (
    EffectOptions,
    EffectSummary,
    Ranking,
    concatenate,
)
from kipoi_mcdropout.effects.until import check_until
from kipoi_mcdropout.engine.choose import Choice, check_engine, in_one
from kipoi_mcdropout.engine.full import DEFAULT_MEMORY_BYTES, check_batch_size
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.model.ensemble import Ensemble
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.layout import Encoding, SequenceLayout
from kipoi_mcdropout.sequence.mutants import (
    MutantBatch,
    Substitutions,
    all_substitutions,
    get_input,
    sequence_scope,
    substituted,
)

MASK_SCOPES = ("run", "sequence")
# Of statistics that are held at a time; a sequence with more is divided into blocks of its mutants.
_BLOCK_BYTES = 96 * 2**20


@dataclass(frozen=True)
class IsmOptions:
    """What is mutated and how.

    `start` and `end` are the window of positions, 0-based and half-open. Under `mask_scope` "run" all
    sequences of a draw see the same masks; under "sequence" each has its own, made from its content.
    `batch_size` is the number of inputs in one forward pass, by default as many as fit into memory.
    `engine` is "incremental", "full", or "auto" (`engine.Engines.choose`), or one of them for each
    member; `memory_bytes` what it may hold above the weights, about; with `verify` a sample of what the
    incremental one computes is compared with the plain forward pass. `encoding` says how the input holds
    the bases. With `member_means` tables have the mean effect of each member.
    """

    model_input: Any
    effects: EffectOptions
    seed: int = 0
    targets: tuple[str | int, ...] = ()
    encoding: Encoding = field(default_factory=Encoding)
    start: int = 0
    end: int | None = None
    include_reference: bool = False
    mask_scope: str = "run"
    batch_size: int | None = None
    engine: str | tuple[str, ...] = "auto"
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    verify: bool = True
    member_means: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.mask_scope not in MASK_SCOPES:
            raise InputError(f"mask_scope must be 'run' or 'sequence'; got {self.mask_scope!r}")
        for engine in (self.engine,) if isinstance(self.engine, str) else self.engine:
            check_engine(engine)
        check_batch_size(self.batch_size)


@dataclass(frozen=True)
class MutatedSequence:
    """One sequence and the substitutions that are made in it."""

    inputs: Nested  # all inputs of the model, one row
    key: Any  # of the input that is mutated
    layout: SequenceLayout
    codes: NDArray[np.uint8]  # shape=(positions,)
    window: tuple[int, int]  # positions mutated, 0-based and half-open
    substitutions: Substitutions


@dataclass
class SequenceEffects:
    """All substitutions of one sequence, or a block of them.

    `summaries` has one entry per score; their mutants are in the order of `substitutions`.
    """

    layout: SequenceLayout
    reference: NDArray[np.uint8]  # codes, shape=(positions,)
    window: tuple[int, int]  # positions mutated, 0-based and half-open
    substitutions: Substitutions
    targets: Targets
    summaries: list[EffectSummary]


class SaturationMutagenesis:
    """In-silico mutagenesis of encoded sequences under locked dropout.

    The model is restored after each sequence, so that the user can use it between two results.
    """

    def __init__(self, model: KipoiModel | Ensemble, options: IsmOptions) -> None:
        self.ensemble = model if isinstance(model, Ensemble) else Ensemble.of([model])
        self.model = self.ensemble.first
        self.options = options
        check_until(options.effects.until, options.effects.n_draws, n_members=len(self.ensemble))
        sizes = MemberSizes(options.batch_size, options.memory_bytes, options.verify)
        self._engines = MemberEngines(
            self.ensemble, options.engine, options.seed, sizes, options.effects.n_draws, self._place
        )
        self._targets: Targets | None = None

    def plan(self, inputs: Nested) -> SitePlan:
        """The first model's dropout sites for inputs of this shape; none where it has no dropout.

        Raises
        ------
        ModelError
            If the model, or a member, cannot be run under locked dropout.
        """
        return self.ensemble.plan(inputs, self.options.effects.n_draws)

    def layout(self, inputs: Nested) -> SequenceLayout:
        """Where the bases and positions of the mutated input are."""
        key = self.model.input_key(self.options.model_input, inputs)
        sequences = np.asarray(get_input(inputs, key))
        return self.options.encoding.layout(sequences)

    def targets(self, inputs: Nested) -> Targets:
        """The outputs that are reported."""
        if self._targets is None:
            with self.model.locked.borrow():
                outputs = self.model.example_outputs(inputs)
                self._targets = self.model.targets(outputs, self.options.targets)
            self.ensemble.check_targets(inputs, self.options.targets, self._targets)
        return self._targets

    def choices(self, inputs: Nested) -> tuple[Choice, ...]:
        """The engine of each member for inputs of this shape; see `MemberEngines.choices`."""
        return self._engines.choices(inputs)

    def choice(self, inputs: Nested) -> Choice:
        """The engine of the model, or of all members in one; see `choices`."""
        return in_one(self.choices(inputs))

    def fix_engine(self, inputs: Nested, n_sequences: int | None = None) -> Choice:
        """Choose the engines by these inputs for all that follow, so that a run has one for a member.

        `n_sequences` is the number of sequences of the run, None where it is not known.
        """
        return in_one(self._engines.fix(inputs, n_sequences or 1))

    @property
    def n_passes(self) -> int:
        """Draws of all members, and the point prediction of each."""
        return self.options.effects.n_draws + len(self.ensemble)

    def set_positions(self, start: int, end: int) -> None:
        """Mutate these positions, 0-based and half-open, in all sequences that follow."""
        self.options = replace(self.options, start=start, end=end)

    def rank_against(self, ranking: Ranking) -> None:
        """Compare all effects that follow with a background."""
        effects = replace(self.options.effects, ranking=ranking)
        self.options = replace(self.options, effects=effects)

    def _place(self, inputs: Nested) -> Place:
        """Of a sequence without N: its key, its layout, and the number of its mutants."""
        options = self.options
        key = self.model.input_key(options.model_input, inputs)
        layout = options.encoding.layout(get_input(inputs, key))
        end = layout.n_positions if options.end is None else options.end
        alternatives = layout.n_bases - (0 if options.include_reference else 1)
        return Place(key, layout, max(0, end - options.start) * alternatives)

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
            If an input is missing, not one-hot or tokens, or of unequal length.
        """
        for sequence in self.sequences(inputs):
            total = len(sequence.substitutions.position) * self.n_passes

            def report(done: int, total: int = total) -> None:
                if progress is not None:
                    progress(done, total)

            parts = [self.block(sequence, rows, report) for rows in self.blocks(sequence)]
            summaries = [concatenate(list(p)) for p in zip(*(x.summaries for x in parts), strict=True)]
            yield replace(parts[0], substitutions=sequence.substitutions, summaries=summaries)

    def sequences(self, inputs: Nested) -> Iterator[MutatedSequence]:
        """Each sequence of a batch with its substitutions; nothing is computed yet.

        Raises
        ------
        InputError
            If an input is missing, not one-hot or tokens, or of unequal length, or has no base.
        """
        inputs = self.model.arrays(inputs)
        key = self.model.input_key(self.options.model_input, inputs)
        _check_lengths(inputs)
        for i, (layout, codes) in enumerate(self.options.encoding.read(get_input(inputs, key))):
            if i == 0:
                self.plan(inputs)
            row = take(inputs, slice(i, i + 1))
            window, edits = self._substitutions(codes, layout)
            yield MutatedSequence(row, key, layout, codes, window, edits)

    def _substitutions(
        self, codes: NDArray[np.uint8], layout: SequenceLayout
    ) -> tuple[tuple[int, int], Substitutions]:
        options = self.options
        end = layout.n_positions if options.end is None else options.end
        edits = all_substitutions(
            codes, layout.n_categories, options.start, end, options.include_reference, layout.no_base
        )
        if len(edits.position) == 0:
            raise InputError(
                f"no position in the window {options.start}-{end} can be mutated: all "
                f"{len(edits.without_base)} are N. Choose another window with start and end"
            )
        return (options.start, end), edits

    def blocks(self, sequence: MutatedSequence) -> list[slice]:
        """The substitutions of a sequence in blocks of bounded size, each of whole positions.

        Their size depends on numbers of the plan alone (outputs, scores, draws that are kept), so that
        every run has the same blocks.
        """
        targets, effects = self.targets(sequence.inputs), self.options.effects
        kept = effects.n_draws if effects.holds_draws else 0
        members = len(self.ensemble) if len(self.ensemble) > 1 else 0
        rounds = 16 if effects.stops_early else 0  # what is kept of mutants that go on
        per_output = 8 * len(effects.scores) * (16 + kept + 12 * members + rounds)
        per_mutant = len(targets.columns) * per_output + sequence.layout.n_positions
        position = sequence.substitutions.position
        if len(position) * per_mutant <= _BLOCK_BYTES:
            return [slice(0, len(position))]
        first = np.flatnonzero(np.diff(position, prepend=-1))  # mutant of each position
        at_once = max(1, _BLOCK_BYTES // per_mutant // (len(position) // len(first)))
        starts = [*map(int, first[::at_once]), len(position)]
        return [slice(a, b) for a, b in itertools.pairwise(starts)]

    def block(
        self, sequence: MutatedSequence, rows: slice, progress: Callable[[int], None] | None = None
    ) -> SequenceEffects:
        """Compute a block of the substitutions of a sequence.

        Parameters
        ----------
        progress : callable, optional
            Called with the number of (mutant, draw) pairs just done.
        """
        options, targets = self.options, self.targets(sequence.inputs)
        scope = RUN_SCOPE
        if options.mask_scope == "sequence":
            scope = sequence_scope([x for _, x in leaves(sequence.inputs)])
        edits, codes = sequence.substitutions, sequence.codes
        mutants = substituted(codes, edits.position[rows], edits.alt[rows])
        owner = np.zeros(len(mutants), np.int64)
        batch = MutantBatch(
            sequence.inputs, sequence.key, sequence.layout, codes[None], owner, mutants, scope
        )
        members = self._engines.members(sequence.inputs)
        summaries = summarize_members(members, batch, targets, options.effects, progress)
        edits = Substitutions(edits.position[rows], edits.alt[rows], edits.without_base)
        return SequenceEffects(sequence.layout, codes, sequence.window, edits, targets, summaries)


def _check_lengths(inputs: Nested) -> None:
    n = n_rows(inputs)
    for path, leaf in leaves(inputs):
        if leaf.ndim == 0 or len(leaf) != n:
            raise InputError(
                f"all inputs must have the same number of sequences; the first has {n}, input {path!r} "
                f"has shape {leaf.shape}"
            )


def dense(effects: SequenceEffects, values: NDArray[Any], fill: float) -> NDArray[Any]:
    """Values per mutant laid out like the window of the input, `fill` where nothing is mutated.

    Returns
    -------
    numpy.ndarray, shape=(*input shape, ...), of tokens shape=(positions, bases, ...)
        The axis of positions has those of the window alone. An input with more than one axis of
        positions is given whole.
    """
    layout, edits = effects.layout, effects.substitutions
    start, end = effects.window if layout.has_one_axis else (0, layout.n_positions)
    table = np.full((end - start, layout.n_categories, *values.shape[1:]), fill, values.dtype)
    table[edits.position - start, edits.alt] = values
    return layout.by_position(table, (start, end))
