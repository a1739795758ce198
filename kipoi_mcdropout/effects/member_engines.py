"""The engine of each member of a model, for the shapes of input that come."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from kipoi_mcdropout.arrays.nested import Nested, leaves
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.stored_weights import is_stored
from kipoi_mcdropout.effects.members import Member
from kipoi_mcdropout.engine.choose import Choice, Engines, Job, check_dtype_of_engine
from kipoi_mcdropout.engine.incremental.shared_capture import SharedCaptures
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.model.architecture import architecture
from kipoi_mcdropout.model.ensemble import Ensemble
from kipoi_mcdropout.sequence.layout import SequenceLayout


@dataclass(frozen=True)
class MemberSizes:
    """See `engine.Engines`."""

    batch_size: int | None
    memory_bytes: int
    verify: bool


@dataclass(frozen=True)
class Place:
    """Which input of a model is mutated, how it is laid out, and how many mutants are planned."""

    key: Any
    layout: SequenceLayout
    n_mutants: int


class MemberEngines:
    """Chooses and makes the engines.

    Parameters
    ----------
    ensemble : Ensemble
    engine : str, or tuple of str
        "auto", "incremental" or "full"; a tuple has one for each member.
    seed : int
        Of the masks.
    sizes : MemberSizes
    n_draws : int
        Of all members together.
    place : callable
        What is mutated in inputs (numpy) of a shape.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        engine: str | tuple[str, ...],
        seed: int,
        sizes: MemberSizes,
        n_draws: int,
        place: Callable[[Nested], Place],
    ) -> None:
        self.ensemble, self.asked, self.n_draws, self._place = ensemble, engine, n_draws, place
        for name in (engine,) if isinstance(engine, str) else engine:
            check_dtype_of_engine(name, ensemble.first.locked.dtype)
        masks = MaskBank(seed)
        self._engines = [
            Engines(member.locked, masks, sizes.batch_size, sizes.memory_bytes, sizes.verify, captures)
            for member, captures in zip(ensemble.members, shared_captures(ensemble), strict=True)
        ]
        self._n_units = 1
        self._fixed: tuple[Choice, ...] | None = None
        self._choices: dict[Any, tuple[Choice, ...]] = {}
        self._random: dict[Any, tuple[bool, ...]] = {}

    def choices(self, inputs: Nested) -> tuple[Choice, ...]:
        """The engine of each member for inputs of this shape: by the models and the options alone.

        Warns where it is "full" because the incremental engine failed.
        """
        known = len(self._choices)
        choices = self._choose(inputs)
        if len(self._choices) > known:
            for choice in dict.fromkeys(choices):
                if choice.problem:
                    warnings.warn(f"engine: {choice}", stacklevel=3)
        return choices

    def fix(self, inputs: Nested, n_sequences: int = 1) -> tuple[Choice, ...]:
        """Take the choices for these inputs for all that follow: so many sequences like the first."""
        self._n_units = n_sequences
        self._fixed = self._choose(inputs)
        return self._fixed

    def members(self, inputs: Nested) -> list[Member]:
        """The members, ready to run on inputs of this shape."""
        choices, is_random = self.choices(inputs), self._is_random(inputs)
        models = zip(self.ensemble.members, self.ensemble.names, strict=True)
        each = zip(models, self._engines, choices, is_random, strict=True)
        return [
            Member(engines.get(choice.engine), borrow_with(engines, model), random, name)
            for (model, name), engines, choice, random in each
        ]

    def _choose(self, inputs: Nested) -> tuple[Choice, ...]:
        if self._fixed is not None:
            return self._fixed
        if isinstance(self.asked, tuple):
            return tuple(Choice(engine, "as requested") for engine in self.asked)
        if self.asked != "auto":
            return (Choice(self.asked, "as requested"),) * len(self.ensemble)
        shapes = _shapes(self.ensemble.first.arrays(inputs))
        if shapes not in self._choices:
            draws = draws_of_each(self.n_draws, self._is_random(inputs))
            self._choices[shapes] = tuple(self._choice(i, inputs, n) for i, n in enumerate(draws))
        return self._choices[shapes]

    def _choice(self, number: int, inputs: Nested, n_draws: int) -> Choice:
        member = self.ensemble.members[number]
        inputs = member.arrays(inputs)
        place = self._place(inputs)
        job = Job(place.n_mutants, n_draws, n_units=self._n_units)
        engines = self._engines[number]
        with borrow_with(engines, member)():
            return engines.choose(inputs, place.key, place.layout, job)

    def _is_random(self, inputs: Nested) -> tuple[bool, ...]:
        """Whether each member has dropout; for one alone, or no draws, it is asked elsewhere."""
        if self.n_draws == 0 or len(self.ensemble) == 1:
            return (True,) * len(self.ensemble)
        shapes = _shapes(inputs)
        if shapes not in self._random:
            self._random[shapes] = self.ensemble.is_random(inputs)
        return self._random[shapes]


def borrow_with(engines: Engines, member: KipoiModel) -> Callable[[], AbstractContextManager[object]]:
    """Borrows a member; engines let go of their copies of its weights where these are in a file."""

    @contextmanager
    def borrow() -> Iterator[None]:
        try:
            with member.locked.borrow():
                yield
        finally:
            if is_stored(member.locked.module):
                engines.incremental.let_go()

    return borrow


def shared_captures(ensemble: Ensemble) -> list[SharedCaptures | None]:
    """For each member what it shares with those of its architecture; None for one alone."""
    if len(ensemble) == 1:
        return [None]
    shared: defaultdict[Hashable, SharedCaptures] = defaultdict(SharedCaptures)
    return [shared[architecture(member)] for member in ensemble.members]


def draws_of_each(n_draws: int, is_random: Sequence[bool]) -> list[int]:
    """How many draws each member computes; 0 where nothing is random, and the point stands for all."""
    return [n_draws // len(is_random) if random else 0 for random in is_random]


def _shapes(inputs: Nested) -> tuple[Any, ...]:
    return tuple((path, np.shape(x)[1:], str(np.asarray(x).dtype)) for path, x in leaves(inputs))
