"""From finished units to the annotated VCF, the table, the skipped alleles, and the ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kipoi_mcdropout.effects.summary import EffectSummary
from kipoi_mcdropout.runs.intervals import summaries_with_intervals
from kipoi_mcdropout.runs.session import RunSession
from kipoi_mcdropout.significance.add_intervals import ConformalOptions
from kipoi_mcdropout.significance.ranked_rows import OF_SUBSTITUTIONS, SUBSTITUTION
from kipoi_mcdropout.vcf.place.placement import Scored
from kipoi_mcdropout.vcf.read.header import Header
from kipoi_mcdropout.vcf.read.record import Record
from kipoi_mcdropout.vcf.units import VariantResult
from kipoi_mcdropout.vcf.write.annotate import Annotator, InfoField, field_cells
from kipoi_mcdropout.vcf.write.haplotype_ledger import (
    SKIPPED_COPIES,
    HaplotypeLedger,
    skipped_copies,
)
from kipoi_mcdropout.vcf.write.ledger import SKIPPED_COLUMNS, Ledger, skipped_rows
from kipoi_mcdropout.vcf.write.output_paths import OutputPaths
from kipoi_mcdropout.vcf.write.table import rows, schema_of
from kipoi_mcdropout.vcf.write.table_output import TableOutput
from kipoi_mcdropout.vcf.write.text_output import TextOutput


@dataclass(frozen=True)
class VariantLayout:
    """How the outputs are written, as plain values, so that a merge writes the same.

    Attributes
    ----------
    prefix : str
        Of the INFO fields.
    fields : tuple of InfoField
    labels : tuple of str
        Model outputs in the table.
    quantiles : tuple of float
        Of the table.
    q_values : bool
        Whether the table has them.
    contigs : dict of str to int
        Lengths to declare in the header, where that declares none.
    several : bool
        Whether the model has several members, so that the table has the parts of the variances.
    eps : float
        Relative precision of the model's arithmetic.
    member_columns : dict of str to int
        Columns of the mean effects of members, with the number of the member, if they were asked for.
    ranked : bool
        Whether the effects were compared with a background.
    conformal : dict or None
        `ConformalOptions.to_dict()` of the calibrations, if there are any.
    n_samples : int or None
        Where haplotypes are scored: of how many samples.
    """

    prefix: str
    fields: tuple[InfoField, ...]
    labels: tuple[str, ...]
    quantiles: tuple[float, ...]
    q_values: bool
    contigs: dict[str, int]
    several: bool = False
    eps: float = 0.0
    member_columns: dict[str, int] = field(default_factory=dict)
    ranked: bool = False
    conformal: dict[str, Any] | None = None
    n_samples: int | None = None

    def annotator(self, header: Header) -> Annotator:
        """What makes the lines of the VCF."""
        return Annotator(header, self.prefix, self.fields, self.contigs)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VariantLayout:
        """From `dataclasses.asdict`, also by way of JSON."""
        return cls(
            values["prefix"],
            tuple(InfoField(**words) for words in values["fields"]),
            tuple(values["labels"]),
            tuple(values["quantiles"]),
            values["q_values"],
            dict(values["contigs"]),
            values["several"],
            values["eps"],
            dict(values["member_columns"]),
            values["ranked"],
            values["conformal"],
            values["n_samples"],
        )


class VariantAssembler:
    """Writes the records of units as they come, and counts what became of their alleles.

    Without paths, as in a shard, it only counts.
    """

    def __init__(self, layout: VariantLayout, header: Header) -> None:
        phased = layout.n_samples is not None
        self.ledger = HaplotypeLedger(n_samples=layout.n_samples or 0) if phased else Ledger()
        self._skipped_rows = skipped_copies if phased else skipped_rows
        self._layout = layout
        self._annotator = layout.annotator(header)
        asked = layout.conformal
        self._conformal = None if asked is None else ConformalOptions.from_dict(asked)
        self._vcf: TextOutput | None = None
        self._skipped: TextOutput | None = None
        self._table: TableOutput | None = None

    @contextlib.contextmanager
    def writing(self, session: RunSession, paths: OutputPaths) -> Iterator[VariantAssembler]:
        """Open the outputs; when the context is left, all of them are whole under hidden names."""
        try:
            self._open(session, paths)
            yield self
            for text in (self._vcf, self._skipped):
                if text is not None:
                    text.close()
            if self._table is not None:
                record = {**session.record, "ledger": self.ledger.to_dict()}
                self._table.finish(record, self._layout.q_values, self._layout.ranked)
        except BaseException:
            for output in (self._vcf, self._skipped, self._table):
                if output is not None:
                    with contextlib.suppress(OSError, ValueError):  # e.g. the disk is full
                        output.close()
            raise

    def _open(self, session: RunSession, paths: OutputPaths) -> None:
        group = session.group
        if paths.vcf is not None:
            self._vcf = TextOutput(paths.vcf.name, group.temporary(paths.vcf))
            self._vcf.write(self._annotator.header_text(session.record))
        if paths.skipped is not None:
            self._skipped = TextOutput(".tsv", group.temporary(paths.skipped))
            columns = SKIPPED_COLUMNS if self._layout.n_samples is None else SKIPPED_COPIES
            self._skipped.write("\t".join(columns) + "\n")
        if paths.table is not None:
            file = group.files[paths.table]
            layout = self._layout
            schema = schema_of(
                layout.quantiles, layout.several, layout.eps, layout.member_columns, layout.ranked,
                self._conformal is not None, layout.n_samples is not None,
            )  # fmt: skip
            self._table = TableOutput(paths.table.name, file.rows, file.temporary, schema)

    def add(self, records: list[Record], result: VariantResult) -> None:
        """The records of a unit, with what was found."""
        summaries = result.summaries
        if self._conformal is not None:
            summaries = summaries_with_intervals(summaries, self._layout.labels, self._conformal)
        scored = [
            (record, number, outcome)
            for record, outcomes in zip(records, result.outcomes, strict=True)
            for number, outcome in enumerate(outcomes, start=1)
            if isinstance(outcome, Scored)
        ]
        cells: list[list[str]] = []
        if scored:
            if self._layout.ranked:
                _no_p_of_others([outcome for _, _, outcome in scored], summaries)
            if self._table is not None:
                layout = self._layout
                self._table.write(
                    rows(
                        scored, result.owner, layout.labels, summaries, layout.quantiles,
                        layout.member_columns,
                    )
                )  # fmt: skip
            cells = field_cells(self._annotator.fields, summaries, result.owner)
        done = 0
        for record, outcomes in zip(records, result.outcomes, strict=True):
            n = self.ledger.add(record, outcomes)
            mine = [texts[done : done + n] for texts in cells] if n else []
            done += n
            if self._vcf is not None:
                self._vcf.write(self._annotator.line(record, outcomes, mine))
            if self._skipped is not None:
                self._skipped.write(self._skipped_rows(record, outcomes))
        if self._vcf is not None:
            self._vcf.flush()


def _no_p_of_others(outcomes: Sequence[Scored], summaries: Sequence[EffectSummary]) -> None:
    """Take p from alleles that are no single substitution, as those of the background are."""
    other = np.array([outcome.kind != SUBSTITUTION for outcome in outcomes])
    for summary in summaries:
        for name in OF_SUBSTITUTIONS:
            summary.mutant[name] = np.where(other[:, None], np.nan, summary.mutant[name])
