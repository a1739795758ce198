"""A sequence and mutants that are always the same: what the choice of the engine is made on."""

from __future__ import annotations

from typing import Any

import numpy as np

from kipoi_mcdropout.arrays.nested import Nested, map_nested, take
from kipoi_mcdropout.sequence.layout import SequenceLayout
from kipoi_mcdropout.sequence.mutants import (
    MutantBatch,
    all_substitutions,
    get_input,
    set_input,
    substituted,
)

_MUTANTS = 8
_KEY = 0x6578616D706C65  # "example"


def example_batch(
    inputs: Nested, input_key: Any, layout: SequenceLayout, n_mutants: int = _MUTANTS
) -> MutantBatch:
    """Substitutions spread evenly over a random sequence, the same for every data.

    Parameters
    ----------
    inputs : nested numpy.ndarray
        All inputs of the model. The mutated one gives the dtype alone; of the others the first row is
        taken.
    input_key
        Of the mutated input (see `MutantBatch`).
    layout : SequenceLayout
        Of the mutated input.
    n_mutants : int
        At most so many.
    """
    first = take(map_nested(np.asarray, inputs), [0])
    random = np.random.Generator(np.random.Philox(_KEY))
    bases = np.array([i for i in range(layout.n_categories) if i != layout.no_base], np.uint8)
    codes = bases[random.integers(0, len(bases), layout.n_positions)]
    dtype = get_input(first, input_key).dtype
    references = set_input(first, input_key, layout.encode(codes[None], dtype))
    edits = all_substitutions(codes, layout.n_categories, no_base=layout.no_base)
    rows = np.unique(np.linspace(0, len(edits.position) - 1, n_mutants).round().astype(np.int64))
    mutants = substituted(codes, edits.position[rows], edits.alt[rows])
    owner = np.zeros(len(rows), np.int64)
    return MutantBatch(references, input_key, layout, codes[None], owner, mutants)
