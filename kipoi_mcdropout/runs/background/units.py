"""The units of a background: some random substitutions of one sequence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.nested import Nested, n_rows, take
from kipoi_mcdropout.effects.saturation import SaturationMutagenesis, SequenceEffects
from kipoi_mcdropout.files.record import metadata_rows, sequence_name
from kipoi_mcdropout.runs.background.options import BackgroundOptions
from kipoi_mcdropout.runs.compute import Unit
from kipoi_mcdropout.runs.ism.units import Block, inputs_digest
from kipoi_mcdropout.sequence.dinucleotide_shuffle import shuffle_dinucleotides
from kipoi_mcdropout.sequence.layout import SequenceLayout
from kipoi_mcdropout.sequence.mutants import Substitutions, all_substitutions, get_input, set_input


@dataclass(frozen=True)
class RandomSubstitutions:
    """The work of a unit: some substitutions of a sequence. `rows` are their numbers among all."""

    inputs: Nested  # one row
    rows: NDArray[np.int64]

    def run(self, mutagenesis: SaturationMutagenesis, progress: Any = None) -> SequenceEffects:
        """Compute them; see `BlockTask.run`."""
        (sequence,) = mutagenesis.sequences(self.inputs)
        edits = sequence.substitutions
        chosen = Substitutions(edits.position[self.rows], edits.alt[self.rows], edits.without_base)
        total = len(self.rows) * mutagenesis.n_passes
        report = None if progress is None else lambda done: progress(done, total)
        few = replace(sequence, substitutions=chosen)
        return mutagenesis.block(few, slice(0, len(self.rows)), report)


def background_units(
    batches: Iterable[dict[str, Any]],
    n: int | None,
    mutagenesis: SaturationMutagenesis,
    options: BackgroundOptions,
) -> Iterator[Unit[Block, RandomSubstitutions]]:
    """Yield a unit for each window of the background.

    Each depends on its number, the sequence it is made of, and the options alone.

    Parameters
    ----------
    batches : iterable of dict
        The sequences, as a dataloader gives them.
    n : int or None
        How many sequences there are; where that is not known, all are read first.
    """
    left = options.n_effects
    for number, (inputs, metadata) in enumerate(_windows(batches, n, options)):
        if not options.from_regions:
            name = f"{sequence_name(metadata, number)}_shuffled_{number}"
            inputs, metadata = _shuffled(inputs, mutagenesis, _random(options, number)), {"name": name}
        random = _random(options, number, 1)
        rows = _rows(inputs, mutagenesis, min(left, options.per_window), random)
        left -= len(rows)
        if len(rows):
            task = RandomSubstitutions(inputs, rows)
            digest = f"{inputs_digest(inputs)}-{inputs_digest(rows)}"
            yield Unit(number, digest, Block(number, 0, 1, metadata), partial(_same, task))


def _same(task: RandomSubstitutions) -> RandomSubstitutions:
    """The task itself, for `Unit.load`: it is in memory already."""
    return task


def _random(options: BackgroundOptions, *numbers: int) -> np.random.Generator:
    """A generator of its own for each window and purpose."""
    sequence = np.random.SeedSequence([options.sample_seed, *numbers, len(numbers)])
    return np.random.Generator(np.random.Philox(sequence))


def _windows(
    batches: Iterable[dict[str, Any]], n: int | None, options: BackgroundOptions
) -> Iterator[tuple[Nested, dict[str, Any]]]:
    """The sequence that each window is made of, each about as often as the others."""
    rows: Iterator[tuple[Nested, dict[str, Any]]] = (
        (take(batch["inputs"], slice(i, i + 1)), metadata)
        for batch in batches
        for i, metadata in enumerate(metadata_rows(batch, n_rows(batch["inputs"])))
    )
    if n is None:
        known = list(rows)
        rows, n = iter(known), len(known)
    often, further = divmod(options.n_windows, n)
    times = np.full(n, often)
    times[_random(options).permutation(n)[:further]] += 1
    for row, repeats in zip(rows, times, strict=True):
        for _ in range(repeats):
            yield row


def _codes(
    inputs: Nested, mutagenesis: SaturationMutagenesis
) -> tuple[Any, SequenceLayout, NDArray[np.uint8]]:
    """Where the mutated input is, its layout, and its codes, shape=(positions,)."""
    options = mutagenesis.options
    key = mutagenesis.model.input_key(options.model_input, inputs)
    ((layout, codes),) = options.encoding.read(np.asarray(get_input(inputs, key)))
    return key, layout, codes


def _shuffled(
    inputs: Nested, mutagenesis: SaturationMutagenesis, random: np.random.Generator
) -> Nested:
    """One row of inputs with its sequence shuffled; other inputs stay as they are."""
    inputs = mutagenesis.model.arrays(inputs)
    key, layout, codes = _codes(inputs, mutagenesis)
    known = codes < layout.n_categories
    if layout.no_base is not None:
        known &= codes != layout.no_base
    shuffled = shuffle_dinucleotides(codes, known, random)
    array = np.asarray(get_input(inputs, key))
    return set_input(inputs, key, layout.encode(shuffled[None], array.dtype))


def _rows(
    inputs: Nested, mutagenesis: SaturationMutagenesis, n: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Numbers of at most n random substitutions of a sequence, in order; none where all is N."""
    options = mutagenesis.options
    _, layout, codes = _codes(mutagenesis.model.arrays(inputs), mutagenesis)
    edits = all_substitutions(
        codes, layout.n_categories, options.start, options.end, no_base=layout.no_base
    )
    total = len(edits.position)
    return np.sort(random.permutation(total)[: min(n, total)])
