"""The computation of a run, for other processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kipoi_mcdropout.effects.saturation import IsmOptions, SaturationMutagenesis, SequenceEffects
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.model.reference import ModelReference
from kipoi_mcdropout.runs.ism.units import BlockTask


@dataclass(frozen=True)
class IsmJob:
    """All that another process needs to mutate sequences with its own copy of the model; picklable.

    `ignore` and `label_axis` are as for `KipoiModel`; `output_sel_fn` is FILE.py::FUNCTION.
    """

    model: ModelReference
    options: IsmOptions
    ignore: tuple[str, ...] = ()
    label_axis: int | None = None
    output_sel_fn: str | None = None

    def __call__(self) -> Callable[[BlockTask], SequenceEffects]:
        """Load the model; the function computes a block of substitutions."""
        function = None if self.output_sel_fn is None else load_function(self.output_sel_fn)
        model = KipoiModel(self.model.load(), function, self.ignore, self.label_axis)
        mutagenesis = SaturationMutagenesis(model, self.options)
        return lambda task: task.run(mutagenesis)


def load_function(text: str) -> Callable[..., Any]:
    """A function of a file, from FILE.py::FUNCTION.

    Raises
    ------
    InputError
        If it is not there.
    """
    from kipoi_utils.utils import load_module

    path, separator, name = text.partition("::")
    if not separator:
        raise InputError(f"--output_sel_fn must be FILE.py::FUNCTION; got {text!r}")
    try:
        return getattr(load_module(path), name)
    except Exception as error:  # the file is code of the user's
        raise InputError(f"--output_sel_fn {text!r} cannot be loaded: {error!r}") from error
