"""All files that a run over a VCF writes, kept in step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from kipoi_mcdropout.errors import InputError, McDropoutError, OutputError
from kipoi_mcdropout.vcf.annotate import Annotator
from kipoi_mcdropout.vcf.ledger import SKIPPED_COLUMNS, Ledger, skipped_rows
from kipoi_mcdropout.vcf.parts import STDOUT, Journal, PartFile, part_of
from kipoi_mcdropout.vcf.placement import Outcome
from kipoi_mcdropout.vcf.reader import STDIN, Record
from kipoi_mcdropout.vcf.run_record import fingerprint
from kipoi_mcdropout.vcf.table_file import TABLE_SUFFIXES, TableFile
from kipoi_mcdropout.writers.atomic import check_free

_VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz")


@dataclass(frozen=True)
class OutputPaths:
    """Where the outputs of a run go."""

    vcf: Path | None  # STDOUT is standard output
    table: Path | None
    skipped: Path | None

    @classmethod
    def check(
        cls,
        source: str | Path,
        vcf: str | Path | None,
        table: str | Path | None,
        skipped: str | Path | None,
        overwrite: bool,
        resume: bool,
    ) -> OutputPaths:
        """Paths of outputs that can be made.

        Raises
        ------
        OutputError
            If one cannot, none is given, or two are the same file.
        InputError
            If `resume` is asked for and there is nothing to take up.
        """
        given = [Path(p) for p in (vcf, table, skipped) if p is not None and str(p) != STDOUT]
        if vcf is None and table is None:
            raise OutputError("give output (an annotated VCF), table, or both; got neither")
        if str(table) == STDOUT or str(skipped) == STDOUT:
            raise OutputError("only the annotated VCF can go to standard output")
        if vcf is not None and str(vcf) != STDOUT and not str(vcf).endswith(_VCF_SUFFIXES):
            hint = "; convert it with `bcftools view -Ob`" if str(vcf).endswith(".bcf") else ""
            raise OutputError(f"output must end in {', '.join(_VCF_SUFFIXES)}; got {vcf}{hint}")
        if table is not None and not str(table).endswith(TABLE_SUFFIXES):
            raise OutputError(f"table must end in {', '.join(TABLE_SUFFIXES)}; got {table}")
        resolved = [p.resolve() for p in (*given, *([] if str(source) == STDIN else [Path(source)]))]
        if len(set(resolved)) < len(resolved):
            raise OutputError("input and outputs must be different files; got one twice")
        check_free(given, overwrite)
        if resume and (str(source) == STDIN or str(vcf) == STDOUT):
            raise InputError("a run from standard input, or to standard output, cannot be resumed")
        paths = [None if p is None else Path(p) for p in (vcf, table, skipped)]
        return cls(*paths)

    @property
    def journal(self) -> Path | None:
        """The journal's file, beside the first output that is a file."""
        for path in (self.vcf, self.table):
            if path is not None and str(path) != STDOUT:
                return part_of(path, "journal")
        return None


class RunOutputs:
    """The annotated VCF, the table, the skipped alleles, and the ledger.

    After each chunk all of them stand at the same record, and the journal says so. On an error they
    are removed; a kill leaves them for `resume`.
    """

    def __init__(
        self,
        paths: OutputPaths,
        annotator: Annotator,
        schema: pa.Schema,
        record: Mapping[str, Any],
        resume: bool,
    ) -> None:
        self.record = record
        self.journal = None if paths.journal is None else Journal(paths.journal, fingerprint(record))
        state = self.journal.read() if resume and self.journal is not None else None
        offsets = {} if state is None else state["offsets"]
        self.ledger = Ledger() if state is None else Ledger.from_dict(state["ledger"])
        self.files: dict[str, PartFile | TableFile] = {}
        try:
            self._open(paths, schema, offsets)
        except BaseException:
            self._abandon(remove=state is None)
            raise
        if state is None:
            if (vcf := self._part("vcf")) is not None:
                vcf.write_text(annotator.header_text(record))
            if (skipped := self._part("skipped")) is not None:
                skipped.write_text("\t".join(SKIPPED_COLUMNS) + "\n")

    def _open(self, paths: OutputPaths, schema: pa.Schema, offsets: Mapping[str, int]) -> None:
        if paths.vcf is not None:
            bgzip = paths.vcf.name.endswith("gz")
            self.files["vcf"] = PartFile(paths.vcf, offsets.get("vcf", 0), bgzip)
        if paths.table is not None:
            self.files["table"] = TableFile(paths.table, schema, offsets.get("table", 0))
        if paths.skipped is not None:
            self.files["skipped"] = PartFile(paths.skipped, offsets.get("skipped", 0))

    def _part(self, name: str) -> PartFile | None:
        file = self.files.get(name)
        return file if isinstance(file, PartFile) else None

    def write_rows(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Append rows to the table."""
        table = self.files.get("table")
        if isinstance(table, TableFile):
            table.write(batches)

    def write_record(self, record: Record, outcomes: Sequence[Outcome], line: str) -> None:
        """Append a record to the VCF, and its skipped alleles to their table."""
        if (vcf := self._part("vcf")) is not None:
            vcf.write_text(line)
        if (skipped := self._part("skipped")) is not None:
            skipped.write_text(skipped_rows(record, list(outcomes)))

    def checkpoint(self) -> None:
        """All files are at the same record: note how far they go."""
        offsets = {name: file.offset() for name, file in self.files.items()}
        if self.journal is not None:
            self.journal.write({"offsets": offsets, "ledger": self.ledger.to_dict()})

    def finish(self, q_values: bool) -> None:
        """Give all files their names."""
        for file in self.files.values():
            if isinstance(file, TableFile):
                file.finish(self.record, q_values)
            else:
                file.finish()
        self.files.clear()
        if self.journal is not None:
            self.journal.remove()

    def _abandon(self, remove: bool) -> None:
        for file in self.files.values():
            file.abandon(remove)
        if remove and self.journal is not None:
            self.journal.remove()

    def __enter__(self) -> RunOutputs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:  # an error of the user's making cannot be resumed; an interruption can
            self._abandon(remove=issubclass(kind, McDropoutError))
