"""The computation of a run over a VCF: from windows of alleles to their statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kipoi_mcdropout.arrays.outputs import Targets
from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.effects.summarize import summarize_effects
from kipoi_mcdropout.effects.summary import EffectOptions
from kipoi_mcdropout.engine.choose import Choice, Engines, Job, check_engine
from kipoi_mcdropout.engine.full import Engine
from kipoi_mcdropout.model.model import Model, ModelSettings
from kipoi_mcdropout.model.reference import ModelReference
from kipoi_mcdropout.model.sequence_model import SequenceModel
from kipoi_mcdropout.vcf.place.chunks import AlleleWindows, to_batch
from kipoi_mcdropout.vcf.place.views import ViewAverage
from kipoi_mcdropout.vcf.units import Summaries

MakeEngine = Callable[[LockedModel, MaskBank, int], Engine]  # model, masks, batch_size


@dataclass(frozen=True)
class EngineChoice:
    """How alleles are computed; see `engine.Engines`."""

    engine: str | MakeEngine
    batch_size: int
    memory_bytes: int
    verify: bool

    def __post_init__(self) -> None:
        if isinstance(self.engine, str):
            check_engine(self.engine)

    def decide(
        self, model: SequenceModel, masks: MaskBank, n_alleles: int, n_draws: int
    ) -> tuple[EngineChoice, Engine, Choice]:
        """The same with one engine for the whole run by its name, that engine, and why it is.

        Within `borrow()` of the model. Depends on the model and on the sizes alone.

        Parameters
        ----------
        n_alleles : int
            Of a chunk, as planned; each is taken to have a reference of its own.
        """
        locked = model.adapter.locked
        if callable(self.engine):
            return self, self.make(locked, masks), Choice("custom", "as given")
        engines = self._engines(locked, masks)
        choice = Choice(self.engine, "as asked for")
        if self.engine == "auto":
            inputs = model.inputs(np.zeros((1, model.length), np.uint8))
            job = Job(n_alleles, n_draws, n_alleles)
            choice = engines.choose(inputs, model.key, model.layout, job)
        return replace(self, engine=choice.engine), engines.get(choice.engine), choice

    def make(self, model: LockedModel, masks: MaskBank) -> Engine:
        """The engine for a model, once it is decided."""
        if callable(self.engine):
            return self.engine(model, masks, self.batch_size)
        return self._engines(model, masks).get(self.engine)

    def _engines(self, model: LockedModel, masks: MaskBank) -> Engines:
        return Engines(model, masks, self.batch_size, self.memory_bytes, self.verify)


@dataclass(frozen=True)
class VariantWork:
    """The computation of a run, with a model that is borrowed here."""

    model: SequenceModel
    targets: Targets
    effects: EffectOptions
    engine: Engine
    rc: bool

    def __call__(self, windows: AlleleWindows) -> Summaries:
        """Run the model on some alleles.

        Raises
        ------
        NonFiniteOutputError
            If the model gives no number for a reference.
        """
        batch = to_batch(self.model, windows, self.rc)
        return summarize_effects(self.engine, batch, self.targets, self.effects)


@dataclass(frozen=True)
class VariantJob:
    """All that another process needs to do the same with its own copy of the model."""

    model: ModelReference
    settings: ModelSettings
    targets: Targets
    effects: EffectOptions
    seed: int
    engine: EngineChoice
    rc: bool

    def __call__(self) -> Callable[[AlleleWindows], Summaries]:
        """Load the model; the function borrows it for some alleles at a time."""
        sequences = Model.of(self.model.load(), self.settings).sequences
        locked = sequences.adapter.locked
        engine = ViewAverage(self.engine.make(locked, MaskBank(self.seed)))
        work = VariantWork(sequences, self.targets, self.effects, engine, self.rc)

        def run(windows: AlleleWindows) -> Summaries:
            with locked.borrow():
                return work(windows)

        return run
