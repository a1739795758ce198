"""The computation of a run, for other processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kipoi_mcdropout.effects.saturation import SequenceEffects
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.reference import ModelReference
from kipoi_mcdropout.plugin.mutation import MCDropoutISM
from kipoi_mcdropout.runs.ism.units import BlockTask


@dataclass(frozen=True)
class IsmJob:
    """All that another process needs to mutate sequences with its own copy of the model.

    `keywords` are arguments of `MCDropoutISM`, its `output_sel_fn` as FILE.py::FUNCTION.
    """

    model: ModelReference
    keywords: Mapping[str, Any]

    def __call__(self) -> Callable[[BlockTask], SequenceEffects]:
        """Load the model; the function computes a block of substitutions."""
        keywords = dict(self.keywords)
        if keywords.get("output_sel_fn") is not None:
            keywords["output_sel_fn"] = load_function(keywords["output_sel_fn"])
        ism = MCDropoutISM(self.model.load(), **keywords)
        return lambda task: task.run(ism.mutagenesis)


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
