"""All files that a run over a VCF writes, kept in step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import pyarrow as pa

from kipoi_mcdropout.errors import McDropoutError
from kipoi_mcdropout.vcf.annotate import Annotator
from kipoi_mcdropout.vcf.chunk_layout import ChunkLayout
from kipoi_mcdropout.vcf.ledger import SKIPPED_COLUMNS, Ledger, skipped_rows
from kipoi_mcdropout.vcf.output_paths import OutputPaths
from kipoi_mcdropout.vcf.parts import PartFile
from kipoi_mcdropout.vcf.placement import Outcome
from kipoi_mcdropout.vcf.reader import Record
from kipoi_mcdropout.vcf.table_file import TableFile
from kipoi_mcdropout.writers.journal import Journal, fingerprint
from kipoi_mcdropout.writers.shards import write_run

KIND = "score_variants"


class RunOutputs:
    """The annotated VCF, the table, the skipped alleles, and the ledger.

    After each chunk all of them stand at the same record, and the journal says so. Where the run fails
    they are removed if nothing was done yet; else they stay for `resume`, as they do after a kill. A
    shard's are not made into the outputs; `merge` does that.
    """

    def __init__(
        self,
        paths: OutputPaths,
        annotator: Annotator,
        schema: pa.Schema,
        record: Mapping[str, Any],
        resume: bool,
    ) -> None:
        self.paths = paths
        self.record = record
        self.journal = None if paths.journal is None else Journal(paths.journal, fingerprint(record))
        state = self.journal.read() if resume and self.journal is not None else None
        offsets = {} if state is None else state["offsets"]
        self.ledger = Ledger() if state is None else Ledger.from_dict(state["ledger"])
        self.chunks: int = 0 if state is None else state["chunks"]  # done
        self._resumable = state is not None
        self.files: dict[str, PartFile | TableFile] = {}
        self._layout: ChunkLayout | None = None
        try:
            self._open(paths, schema, offsets)
            if state is None:
                if (vcf := self._part("vcf")) is not None:
                    vcf.write_text(annotator.header_text(record))
                if (skipped := self._part("skipped")) is not None:
                    skipped.write_text("\t".join(SKIPPED_COLUMNS) + "\n")
            begin = self._offsets()  # ends the block of the header, in a whole run as in a shard
            if paths.shard is not None and paths.folder is not None:
                write_run(paths.folder, KIND, paths.shard, record, paths.to_dict())
                self._layout = ChunkLayout(paths.folder, self.chunks, begin)
        except BaseException:
            self._abandon(remove=state is None)
            raise

    def _open(self, paths: OutputPaths, schema: pa.Schema, offsets: Mapping[str, int]) -> None:
        if paths.vcf is not None:
            bgzip = paths.vcf.name.endswith("gz")
            self.files["vcf"] = PartFile(paths.vcf, paths.part("vcf"), offsets.get("vcf", 0), bgzip)
        if paths.table is not None:
            part = paths.part("table")
            self.files["table"] = TableFile(paths.table, schema, part, offsets.get("table", 0))
        if paths.skipped is not None:
            part = paths.part("skipped")
            self.files["skipped"] = PartFile(paths.skipped, part, offsets.get("skipped", 0))

    def _part(self, name: str) -> PartFile | None:
        file = self.files.get(name)
        return file if isinstance(file, PartFile) else None

    def _offsets(self) -> dict[str, int]:
        return {name: file.offset() for name, file in self.files.items()}

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
        """A chunk is done and all files are at the same record: note how far they go."""
        self.chunks += 1
        if self._layout is not None:
            self._layout.append(self._offsets())
        self._write_journal()

    def _write_journal(self, complete: bool = False) -> None:
        if self.journal is None:
            return
        state = {"offsets": self._offsets(), "ledger": self.ledger.to_dict(), "chunks": self.chunks}
        self.journal.write({**state, "complete": complete})
        self._resumable = True

    def finish(self, q_values: bool) -> None:
        """Give all files their names; a shard only says that it is complete."""
        if self.paths.shard is not None:
            self._write_journal(complete=True)
            self._abandon(remove=False)
            return
        for file in self.files.values():
            if isinstance(file, TableFile):
                file.finish({**self.record, "ledger": self.ledger.to_dict()}, q_values)
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
        self.files.clear()

    def __enter__(self) -> RunOutputs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:  # what was done can be resumed, if anything was
            self._abandon(remove=issubclass(kind, McDropoutError) and not self._resumable)
