"""What another process needs to compute blocks of substitutions."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kipoi_mcdropout.effects.saturation import IsmOptions, SaturationMutagenesis, SequenceEffects
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.load_members import load_members
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.reference import ModelReference
from kipoi_mcdropout.model.settings import ModelSettings
from kipoi_mcdropout.runs.ism.units import BlockTask


@dataclass(frozen=True)
class IsmJob:
    """All that another process needs to mutate sequences with its own copy of the model."""

    models: tuple[ModelReference, ...]  # the members
    settings: ModelSettings
    options: IsmOptions
    output_sel_fn: str | None = None  # FILE.py::FUNCTION

    def __call__(self) -> Callable[[BlockTask], SequenceEffects]:
        """Load the model. Returns the function that computes a block of substitutions.

        Raises
        ------
        ModelError
            If the model here is not the one that the run began with.
        InputError
            If the function of `output_sel_fn` is not there.
        """
        select = None if self.output_sel_fn is None else load_function(self.output_sel_fn)
        members = load_members(self.models, lambda _, member: member.load(), self.options.memory_bytes)
        model = Model.of(members, self.settings, select)
        mutagenesis = SaturationMutagenesis(model.ensemble, self.options)
        return lambda task: task.run(mutagenesis)


def load_function(text: str) -> Callable[..., Any]:
    """A function of a file, from FILE.py::FUNCTION.

    Raises
    ------
    InputError
        If the text has another form, the file cannot be run, or it has no such function.
    """
    path, separator, name = text.partition("::")
    if not separator:
        raise InputError(f"--output_sel_fn must be FILE.py::FUNCTION; got {text!r}")
    try:
        spec = importlib.util.spec_from_file_location(Path(path).stem, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        function: Callable[..., Any] = getattr(module, name)
        return function
    except Exception as error:  # the file is code of the user's
        raise InputError(f"--output_sel_fn {text!r} cannot be loaded: {error!r}") from error
