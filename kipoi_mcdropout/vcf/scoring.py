"""The computation of a run over a VCF: from windows of alleles to their statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.effects.member_engines import borrow_with, draws_of_each, shared_captures
from kipoi_mcdropout.effects.members import Member, summarize_members
from kipoi_mcdropout.effects.summary import EffectOptions
from kipoi_mcdropout.engine.choose import (
    Choice,
    Engines,
    Job,
    check_dtype_of_engine,
    check_engine,
    in_one,
)
from kipoi_mcdropout.engine.dtype_check import DtypeCheck, check_dtype_error, sample_sizes
from kipoi_mcdropout.engine.full import Engine
from kipoi_mcdropout.engine.incremental.example import example_batch
from kipoi_mcdropout.model.ensemble import Ensemble
from kipoi_mcdropout.model.load_members import load_members
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.reference import ModelReference
from kipoi_mcdropout.model.sequence_model import SequenceModel
from kipoi_mcdropout.model.settings import ModelSettings
from kipoi_mcdropout.outputs.profiles import Profiles
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.vcf.place.chunks import AlleleWindows, to_batch
from kipoi_mcdropout.vcf.place.views import ViewAverage
from kipoi_mcdropout.vcf.units import Summaries

MakeEngine = Callable[[LockedModel, MaskBank, int | None], Engine]  # model, masks, batch_size


def which_are_random(model: Model, n_draws: int) -> tuple[bool, ...]:
    """Whether each member has dropout; of one alone, or for no draws, that is asked elsewhere."""
    if n_draws == 0 or len(model.ensemble) == 1:
        return (True,) * len(model.ensemble)
    return model.ensemble.is_random(model.sequences.example())


@dataclass(frozen=True)
class EngineChoice:
    """How alleles are computed; see `engine.Engines`. After `decide`, `engine` has one a member."""

    engine: str | MakeEngine | tuple[str, ...]
    batch_size: int | None
    memory_bytes: int
    verify: bool

    def __post_init__(self) -> None:
        if isinstance(self.engine, str):
            check_engine(self.engine)

    @property
    def by_name(self) -> bool:
        """Whether another process can make the same engines."""
        return not callable(self.engine)

    def decide(
        self,
        model: Model,
        masks: MaskBank,
        n_alleles: int,
        n_references: int,
        n_chunks: int,
        n_draws: int,
        is_random: Sequence[bool],
    ) -> tuple[EngineChoice, Choice]:
        """The same with one engine for each member for the whole run, by its name, and why it is.

        Within `borrow()` of the model. Depends on the model and on the sizes alone.

        Parameters
        ----------
        n_alleles, n_references : int
            Of a chunk, as planned.
        n_chunks : int
            Of the run, all shards together.
        n_draws : int
            Of all members together.
        is_random : sequence of bool
            Whether each member has dropout.
        """
        if callable(self.engine):
            return self, Choice("custom", "as given")
        if self.engine != "auto":
            check_dtype_of_engine(str(self.engine), model.settings.dtype)
            choice = Choice(str(self.engine), "as asked for")
            return replace(self, engine=(str(self.engine),) * len(model.ensemble)), choice
        sequences = model.sequences
        inputs = sequences.inputs(np.zeros((1, sequences.length), np.uint8))
        choices = []
        draws = draws_of_each(n_draws, is_random)
        each = zip(self._engines(model.ensemble, masks), model.ensemble.members, draws, strict=True)
        for engines, member, own in each:
            job = Job(n_alleles, own, n_references, n_chunks)
            with borrow_with(engines, member)():
                choices.append(engines.choose(inputs, sequences.key, sequences.layout, job))
        return replace(self, engine=tuple(choice.engine for choice in choices)), in_one(choices)

    def dtype_check(
        self,
        model: Model,
        masks: MaskBank,
        n_alleles: int,
        draws_of_members: Sequence[int],
        selected: Tensor | None,
    ) -> DtypeCheck | None:
        """What `dtype` rounds, on mutants of a random sequence; None if nothing is compared.

        Within `borrow()` of the model. `n_alleles` are those of a chunk. Of a model with several
        members, that of the first.
        """
        locked, sequences = model.adapter.locked, model.sequences
        if locked.dtype == "float32" or not self.verify:
            return None
        own = draws_of_members[model.ensemble.members.index(model.adapter)]
        n_mutants, n_draws = sample_sizes(n_alleles, own)
        inputs = sequences.inputs(np.zeros((1, sequences.length), np.uint8))
        batch = example_batch(inputs, sequences.key, sequences.layout, n_mutants)
        draws = range(n_draws) if n_draws else [POINT]
        return check_dtype_error(locked, masks, batch, draws, selected, self.batch_size)

    def members(
        self, model: Model, masks: MaskBank, is_random: Sequence[bool], profiles: Profiles | None = None
    ) -> tuple[Member, ...]:
        """The members with their engines, once these are decided.

        `profiles` are those of the targets.
        """
        alignment = None if profiles is None else profiles.alignment
        made = []
        ensemble = model.ensemble
        each = zip(self._engines(ensemble, masks), ensemble.members, ensemble.names, strict=True)
        for i, (engines, member, name) in enumerate(each):
            if callable(self.engine):
                engine = self.engine(member.locked, masks, self.batch_size)
            else:
                engine = engines.get(self.engine[i])
            borrow = borrow_with(engines, member)
            made.append(Member(ViewAverage(engine, alignment), borrow, is_random[i], name))
        return tuple(made)

    def _engines(self, ensemble: Ensemble, masks: MaskBank) -> list[Engines]:
        """Of each member."""
        own = (self.batch_size, self.memory_bytes, self.verify)
        return [
            Engines(member.locked, masks, *own, captures)
            for member, captures in zip(ensemble.members, shared_captures(ensemble), strict=True)
        ]


@dataclass(frozen=True)
class VariantWork:
    """The computation of a run; each member is borrowed for its draws."""

    model: SequenceModel
    targets: Targets
    effects: EffectOptions
    members: tuple[Member, ...]
    rc: bool

    def __call__(self, windows: AlleleWindows) -> Summaries:
        """Run the model on some alleles.

        Raises
        ------
        NonFiniteOutputError
            If the model gives no number for a reference.
        """
        batch = to_batch(self.model, windows, self.rc)
        return summarize_members(self.members, batch, self.targets, self.effects)


@dataclass(frozen=True)
class VariantJob:
    """All that another process needs to do the same with its own copy of the model."""

    models: tuple[ModelReference, ...]  # the members
    settings: ModelSettings
    targets: Targets
    effects: EffectOptions
    seed: int
    engine: EngineChoice
    is_random: tuple[bool, ...]
    rc: bool

    def __call__(self) -> Callable[[AlleleWindows], Summaries]:
        """Load the model; the function borrows it for some alleles at a time."""
        memory = self.engine.memory_bytes
        loaded = load_members(self.models, lambda _, member: member.load(), memory)
        model = Model.of(loaded, self.settings)
        members = self.engine.members(model, MaskBank(self.seed), self.is_random, self.targets.profiles)
        return VariantWork(model.sequences, self.targets, self.effects, members, self.rc)
