"""From a chunk of records to what the outputs say of it."""

from __future__ import annotations

from dataclasses import dataclass

from kipoi_mcdropout.effects import EffectOptions, EffectSummary, summarize_effects
from kipoi_mcdropout.engine import Engine
from kipoi_mcdropout.errors import NonFiniteOutputError
from kipoi_mcdropout.mutants import MutantBatch
from kipoi_mcdropout.outputs import Targets
from kipoi_mcdropout.vcf.annotate import Annotator, field_cells
from kipoi_mcdropout.vcf.chunks import Chunk, to_batch
from kipoi_mcdropout.vcf.run_outputs import RunOutputs
from kipoi_mcdropout.vcf.sequence_model import SequenceModel
from kipoi_mcdropout.vcf.table import rows


@dataclass(frozen=True)
class Scorer:
    """All that is fixed before the first record is read."""

    model: SequenceModel
    targets: Targets
    effects: EffectOptions
    engine: Engine
    rc: bool
    annotator: Annotator

    def score(self, chunk: Chunk, outputs: RunOutputs) -> None:
        """Run the model on the alleles of a chunk, write its records, and note that they are done.

        Raises
        ------
        NonFiniteOutputError
            If the model gives no number for a reference.
        """
        cells: list[list[str]] = []
        if chunk.scored:
            batch = to_batch(self.model, chunk.scored, self.rc)
            summaries = self._summarize(chunk, batch)
            quantiles = self.effects.quantiles
            outputs.write_rows(
                rows(chunk.scored, batch.owner, self.targets.labels, summaries, quantiles)
            )
            cells = field_cells(self.annotator.fields, summaries, batch.owner)
        self._write_records(chunk, cells, outputs)
        outputs.checkpoint()

    def _summarize(self, chunk: Chunk, batch: MutantBatch) -> list[EffectSummary]:
        try:
            return summarize_effects(self.engine, batch, self.targets, self.effects)
        except NonFiniteOutputError as error:
            places = [f"{r.contig}:{r.pos}" for r in (chunk.scored[0][0], chunk.scored[-1][0])]
            raise NonFiniteOutputError(f"{error}. The batch has {places[0]} to {places[1]}") from error

    def _write_records(self, chunk: Chunk, cells: list[list[str]], outputs: RunOutputs) -> None:
        done = 0
        for record, outcomes in chunk.records:
            n = outputs.ledger.add(outcomes)
            mine = [texts[done : done + n] for texts in cells] if n else []
            outputs.write_record(record, outcomes, self.annotator.line(record, outcomes, mine))
            done += n
