"""Where memory runs out, the forward pass goes on with half as many inputs at a time."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from kipoi_mcdropout.arrays.nested import Nested, n_rows, take
from kipoi_mcdropout.dropout.device import free_unused
from kipoi_mcdropout.dropout.memory import is_out_of_memory
from kipoi_mcdropout.errors import InputWarning

OnePass = Callable[[Nested, bool], Tensor]
_LESS = (
    "there was not enough memory to run the model on {} inputs at a time: it goes on with at most {}. A "
    "batch of another size is rounded in another way, so another run may differ in the last digits"
)


class LessMemoryWarning(InputWarning):
    """Memory ran out, and the run went on with fewer inputs at a time."""


class FewerInputs:
    """Remembers how many inputs fit into memory, once it has run out."""

    def __init__(self) -> None:
        self._most = sys.maxsize

    def run(
        self, inputs: Nested, one_pass: OnePass, device: torch.device, *, whole: bool = True
    ) -> Tensor:
        """Outputs of a batch, in as many passes as memory asks for.

        Parameters
        ----------
        inputs : nested tensors, batch first
        one_pass : callable
            Gives the outputs, batch first, of some of them; it takes whether these are all of them.
        device : torch.device
            Of the inputs.
        whole : bool
            Whether `inputs` are all.

        Raises
        ------
        RuntimeError or MemoryError
            If memory does not suffice for one input.
        """
        n = n_rows(inputs)
        if n <= self._most:
            try:
                return one_pass(inputs, whole)
            except (RuntimeError, MemoryError) as error:
                if n == 1 or not is_out_of_memory(error):
                    raise
            self._most = n // 2
            warnings.warn(_LESS.format(n, self._most), LessMemoryWarning, stacklevel=2)
            free_unused(device)
        slices = [slice(begin, min(begin + self._most, n)) for begin in range(0, n, self._most)]
        return torch.cat(
            [self.run(take(inputs, rows), one_pass, device, whole=False) for rows in slices]
        )
