"""What is decided before the first sequence is mutated: draws, engines, the record of the run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.effects.saturation import IsmOptions, SaturationMutagenesis
from kipoi_mcdropout.engine import Choice
from kipoi_mcdropout.model.ensemble import decided_draws
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.reference import ModelReference
from kipoi_mcdropout.model.sequences import Sequences
from kipoi_mcdropout.runs.ism.check_ranges import RangeCheck, genome_of, with_checked_ranges
from kipoi_mcdropout.runs.ism.job import IsmJob
from kipoi_mcdropout.runs.ism.record import Asked, dtype_check, run_record
from kipoi_mcdropout.runs.ism.watch import Watch
from kipoi_mcdropout.runs.schedule import InProcess, Scheduler, Work


@dataclass(frozen=True)
class Prepared:
    """A run that can begin.

    Attributes
    ----------
    mutagenesis : SaturationMutagenesis
        With its engines fixed.
    sequences : Sequences
        All of them, with checked ranges.
    record : dict
        Provenance.
    choice : Choice
        The engine, and why it is that.
    notes : tuple of str
        On the dropout sites, and on what the type of numbers rounds.
    labels : tuple of str
        Of the outputs.
    inputs : nested numpy.ndarray
        Of the first batch.
    """

    model: Model
    mutagenesis: SaturationMutagenesis
    sequences: Sequences
    record: dict[str, Any]
    choice: Choice
    engines: tuple[str, ...]  # of each member
    notes: tuple[str, ...]
    labels: tuple[str, ...]
    inputs: Nested  # of the first batch

    def work(self, scheduler: Scheduler, watch: Watch, asked: Asked) -> Work[Any, Any]:
        """The function that computes a unit here and, for a cluster, the job that does it elsewhere."""
        if isinstance(scheduler, InProcess):
            return Work(lambda task: task.run(self.mutagenesis, watch.forwards))
        references = tuple(ModelReference.of(m) for m in self.model.ensemble.first_in_front)
        options = replace(self.mutagenesis.options, engine=self.engines)  # the workers take the same
        job = IsmJob(references, self.model.settings, options, asked.output_sel_fn)
        return Work(lambda task: task.run(self.mutagenesis), job)


def prepare(model: Model, sequences: Sequences, options: IsmOptions, asked: Asked) -> Prepared:
    """Look at the first sequence, and decide all that is the same for all of them.

    Errors of the data or the model come here, before any file is made.

    Raises
    ------
    InputError, ModelError
        If the model cannot be run on the sequences.
    """
    first, sequences = sequences.peek()
    n_draws = decided_draws(options.effects.n_draws, model.ensemble, first["inputs"])
    options = replace(options, effects=replace(options.effects, n_draws=n_draws))
    mutagenesis = SaturationMutagenesis(model.ensemble, options)
    key = model.adapter.input_key(options.model_input, first["inputs"])
    if sequences.windows is None:  # ranges by code of others
        check = RangeCheck(genome_of(sequences.arguments))
        stream = with_checked_ranges(sequences.batches, check, key, options.encoding)
        first, sequences = sequences.with_batches(stream).peek()
    inputs = first["inputs"]
    choice = mutagenesis.fix_engine(inputs, sequences.n)
    engines = tuple(of_member.engine for of_member in mutagenesis.choices(inputs))
    record = run_record(model, mutagenesis, inputs, sequences, asked)
    notes = tuple(mutagenesis.plan(inputs).notes)
    if (compared := dtype_check(model, mutagenesis, inputs)) is not None:
        record["dtype_check"] = compared.to_dict()
        notes += (str(compared),)
    return Prepared(
        model, mutagenesis, sequences, record, choice, engines, notes,
        mutagenesis.targets(inputs).labels, inputs,
    )  # fmt: skip
