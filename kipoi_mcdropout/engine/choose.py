"""Chooses the engine: the incremental one if it is correct and faster, else the full one.

The choice depends only on the model and the sizes of the run: not on a clock, the data, or earlier runs.
So a resumed run, every shard and every worker choose the same engine, and their results are bitwise
equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.memory import is_out_of_memory
from kipoi_mcdropout.engine.full import DEFAULT_MEMORY_BYTES, Engine, FullEngine, to_tensors
from kipoi_mcdropout.engine.incremental.capture_error import CaptureError
from kipoi_mcdropout.engine.incremental.engine import IncrementalEngine
from kipoi_mcdropout.engine.incremental.example import example_batch
from kipoi_mcdropout.engine.incremental.plan import plan_cost
from kipoi_mcdropout.engine.incremental.rules import RuleError
from kipoi_mcdropout.engine.incremental.shared_capture import SharedCaptures
from kipoi_mcdropout.engine.pass_work import capture_passes
from kipoi_mcdropout.engine.verify import VerifyingEngine, is_rounding, relative_error, tolerance
from kipoi_mcdropout.errors import InputError, McDropoutError
from kipoi_mcdropout.sequence.layout import SequenceLayout
from kipoi_mcdropout.sequence.mutants import MutantBatch

ENGINES = ("auto", "incremental", "full")
# These numbers were set on benchmarks/networks.py.
_MUST_GAIN = 0.6  # largest estimated share of the cost of whole inputs
_MUST_WORK = 1e9  # floating point operations per draw below which the bookkeeping costs more
# Forward passes of a run; to capture the model costs 10 or more, and to try the engine about 40 more.
_MUST_RUN = 400
_CAPTURE_SHARE = 0.05  # of a run that may be spent on capturing the model, where that gains nothing
_SURELY_ENOUGH = 10_000  # forward passes of a run; the model is captured, whatever its work


def check_dtype_of_engine(engine: str, dtype: str) -> None:
    """Raise InputError unless the engine of this name computes in this type."""
    if engine == "incremental" and dtype != "float32":
        raise InputError(
            f"the engine 'incremental' computes in the model's own types; got dtype {dtype!r} "
            "(--dtype). Use the engine 'auto' or 'full' (--engine) with it"
        )


def check_engine(engine: str) -> str:
    """The name of an engine; InputError if there is none of that name."""
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}; got {engine!r}")
    return engine


@dataclass(frozen=True)
class Job:
    """The sizes of a unit of a run (a sequence, or a chunk of alleles), as planned."""

    n_mutants: int
    n_draws: int  # 0: the prediction with dropout off alone
    n_references: int = 1
    n_units: int = 1  # of the run, of all shards together; 1 where it is not known

    @property
    def n_passes(self) -> int:
        """Forward passes of mutants in whole inputs, in the run."""
        return self.n_mutants * (self.n_draws + 1) * self.n_units

    @property
    def crowded(self) -> bool:
        """Whether most references have few mutants."""
        return self.n_references * 4 > self.n_mutants

    def share(self, mine: float, full: float) -> float:
        """Cost in units of that of whole inputs; both engines run references whole.

        `mine` is the cost of a mutant, `full` that of a whole input.
        """
        n = self.n_references + self.n_mutants
        return (self.n_references + self.n_mutants * mine / full) / n


@dataclass(frozen=True)
class Choice:
    """An engine, "incremental" or "full", and why; `problem` where it is because something failed."""

    engine: str
    reason: str
    problem: bool = False

    def __str__(self) -> str:
        return f"{self.engine}, {self.reason}"


def in_one(choices: Sequence[Choice]) -> Choice:
    """The choices for several members as one: the same for all of them, else each by its number."""
    different = list(dict.fromkeys(choices))
    if len(different) == 1:
        return different[0]
    numbered = [f"member {i}: {choice.reason}" for i, choice in enumerate(choices, 1)]
    names = ",".join(choice.engine for choice in choices)
    return Choice(names, "; ".join(numbered), any(choice.problem for choice in choices))


class Engines:
    """The engines for a model and a seed.

    Parameters
    ----------
    model : LockedModel
    masks : MaskBank
    batch_size : int, optional
        Inputs in one forward pass, where whole inputs are computed; by default as many as fit into
        memory, at most 32.
    memory_bytes : int
        Approximate memory for activations, in addition to the weights.
    verify : bool
        Recompute a sample of what the incremental engine gives by the plain forward pass, and raise
        EngineMismatchError if it differs.
    captures : SharedCaptures, optional
        Of other networks of the same architecture.
    """

    def __init__(
        self,
        model: LockedModel,
        masks: MaskBank,
        batch_size: int | None = None,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        verify: bool = False,
        captures: SharedCaptures | None = None,
    ) -> None:
        self.full = FullEngine(model, masks, batch_size, memory_bytes)
        self.incremental = IncrementalEngine(model, masks, batch_size, memory_bytes, captures)
        self._verify = verify

    def get(self, engine: str) -> Engine:
        """The engine of a name, "incremental" or "full"."""
        if engine == "full":
            return self.full
        if engine != "incremental":
            raise InputError(f"engine must be 'incremental' or 'full'; got {engine!r}")
        check_dtype_of_engine(engine, self.full.model.dtype)
        if not self._verify:
            return self.incremental
        return VerifyingEngine(self.incremental, self.incremental.model, self.incremental.masks)

    def choose(self, inputs: Nested, input_key: Any, layout: SequenceLayout, job: Job) -> Choice:
        """The engine for "auto", within `borrow()` of the model.

        Parameters
        ----------
        inputs : nested numpy.ndarray
            All inputs of the model; of the mutated one the dtype is used, of the others the first row.
        input_key
            Of the mutated input.
        layout : SequenceLayout
            Of the mutated input.
        job : Job

        Raises
        ------
        McDropoutError
            If the model cannot be run with locked dropout.
        """
        if self.full.model.dtype != "float32":
            return Choice("full", f"because {self.full.model.dtype} is computed on whole inputs")
        if job.n_passes < _MUST_RUN:
            passes = f"{job.n_passes} forward passes"
            return Choice(
                "full", f"because {passes} are too few to test whether another engine is faster"
            )
        example = example_batch(inputs, input_key, layout)
        one = to_tensors(example.references, self.full.model.device)
        if (needed := self.full.model.bytes_of_one(one)) > self.full.memory_bytes:
            return Choice(
                "full",
                f"because one input takes about {needed / 1e9:.1f} GB of memory, so another engine is "
                f"tried only with more memory than {self.full.memory_bytes / 1e9:g} GB (--memory)",
            )
        if job.n_passes < _SURELY_ENOUGH:
            captured = capture_passes(self.full.model, one, job.n_draws)
            if captured > job.n_passes * _CAPTURE_SHARE:
                return Choice(
                    "full",
                    f"because the run has {job.n_passes} forward passes, and to test whether another "
                    f"engine is faster takes as long as about {captured:.0f}",
                )
        try:
            return self._estimated(example, job)
        except CaptureError as error:
            return Choice("full", f"the model cannot be captured: {error.what or error}")
        except RuleError as error:
            return Choice("full", error.what, problem=True)
        except McDropoutError:
            raise
        # Whatever goes wrong in the trial, the plain engine is not touched by it.
        except Exception as error:  # noqa: BLE001
            if is_out_of_memory(error):
                return Choice(
                    "full", "there was not enough memory for the trial of the incremental engine", True
                )
            what = f"{type(error).__name__}: {error}"
            return Choice("full", f"the incremental engine failed in its trial ({what})", True)

    def _estimated(self, example: MutantBatch, job: Job) -> Choice:
        """By the counted cost; where that is low enough, after a trial."""
        plan = self.incremental.planned(example, job.n_draws == 0).plan
        mine, full = plan_cost(plan, job.n_draws)
        full = max(full, 1.0)
        estimate = job.share(mine, full)
        words = f"estimated at {estimate:.2f} of the cost of whole inputs"
        if not job.crowded and full * job.n_mutants < _MUST_WORK:
            return Choice("full", f"{words}, but the model has few operations")
        if estimate >= _MUST_GAIN:
            return Choice("full", words)
        difference = self._trial(example, POINT if job.n_draws == 0 else 0)
        if difference > 0:
            what = f"differs by {difference:.2g} of the output's scale in its trial"
            return Choice("full", f"the incremental engine {what}", problem=True)
        return Choice("incremental", words)

    def _trial(self, example: MutantBatch, draw: int) -> float:
        """By how much the incremental engine differs from the plain one, 0 where that is rounding."""
        got = _outputs(self.incremental, example, draw)
        expected = _outputs(self.full, example, draw)
        difference = relative_error(got, expected)
        if difference <= tolerance(expected.dtype, self.full.model.eps):
            return 0.0
        exact = self.incremental.precise_outputs(example, draw)
        if exact is None or not is_rounding(got[-len(exact) :], expected[-len(exact) :], exact):
            return difference
        return 0.0


def make_engine(
    model: LockedModel,
    masks: MaskBank,
    batch_size: int | None = None,
    engine: str = "incremental",
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    verify: bool = False,
) -> Engine:
    """The engine of a name, "incremental" or "full"; see `Engines`, and `choose_engine` for "auto".

    Raises
    ------
    InputError
        If there is no such engine.
    """
    return Engines(model, masks, batch_size, memory_bytes, verify).get(engine)


def choose_engine(
    model: LockedModel, masks: MaskBank, inputs: Nested, input_key: Any, layout: SequenceLayout, job: Job
) -> Choice:
    """The engine that suits a model and a job; see `Engines.choose`."""
    return Engines(model, masks).choose(inputs, input_key, layout, job)


def _outputs(engine: Engine, batch: MutantBatch, draw: int) -> Tensor:
    """Outputs of references and mutants, (rows, outputs)."""
    blocks = list(engine.run(batch, [draw]))
    return torch.cat([blocks[0].ref[0], *(block.alt[0] for block in blocks)])
