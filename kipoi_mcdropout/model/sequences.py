"""Inputs of a model in batches, with where they come from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kipoi_mcdropout.arrays.nested import Nested, concatenate, leaves
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.model import Model

AT_ONCE = 64  # sequences in a batch


@dataclass(frozen=True)
class Sequences:
    """Inputs of a model in batches, with where they come from.

    Attributes
    ----------
    batches : iterator of dict
        As Kipoi's dataloaders give them: `inputs`, and maybe `metadata`, batch first.
    arguments : mapping
        Of what reads the sequences, for the record; those that are paths of files get a checksum.
    dataloader : str or None
        Name of Kipoi's dataloader, where another than the model's own was asked for.
    n : int or None
        How many there are, where that is known.
    notes : tuple of str
        What was done with them that need not worry anyone.
    windows : mapping or None
        What was done with regions or with the sequences of a FASTA, for the record; None where a
        dataloader or arrays give the inputs.
    """

    batches: Iterator[dict[str, Any]]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    dataloader: str | None = None
    n: int | None = None
    notes: tuple[str, ...] = ()
    windows: Mapping[str, Any] | None = None

    @classmethod
    def from_arrays(cls, model: Model, x: Nested) -> Sequences:
        """All inputs of a model as arrays, batch first.

        Raises
        ------
        InputError
            If they are no arrays, or there is no sequence in them.
        """
        x = model.adapter.arrays(x)
        sizes = [leaf.shape for _, leaf in leaves(x)]
        n = {shape[0] if shape else 0 for shape in sizes}
        if max((len(shape) for shape in sizes), default=0) < 2 or len(n) > 1 or 0 in n:
            raise InputError(
                "x must be an array of one or more inputs with the batch first, such as shape "
                "(1, 4, 500), or a dict or list of arrays with as many rows; got "
                f"{', '.join(map(str, sizes)) or 'nothing'}"
            )
        return cls(iter([{"inputs": x}]), n=sizes[0][0])

    def peek(self) -> tuple[dict[str, Any], Sequences]:
        """The first batch, and the same sequences with all batches."""
        first = next(self.batches)
        return first, self.with_batches(itertools.chain([first], self.batches))

    def with_batches(self, batches: Iterator[dict[str, Any]]) -> Sequences:
        """The same with other batches."""
        return replace(self, batches=batches)

    def recorded(self) -> dict[str, Any]:
        """Where the inputs come from, for the options of a record."""
        if self.windows is None:
            return {"dataloader": self.dataloader, "dataloader_args": dict(self.arguments)}
        return {"inputs": {**self.arguments, **self.windows}}

    def all_inputs(self) -> Nested:
        """The inputs of all batches in one."""
        parts = [batch["inputs"] for batch in self.batches]
        return parts[0] if len(parts) == 1 else concatenate(parts)
