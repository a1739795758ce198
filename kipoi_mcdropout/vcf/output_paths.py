"""Where the outputs of a run over a VCF go, and where their parts are meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.same_file import check_not_inputs
from kipoi_mcdropout.schedule.shard import Shard
from kipoi_mcdropout.vcf.input_stream import is_stream
from kipoi_mcdropout.vcf.parts import STDOUT, part_of
from kipoi_mcdropout.vcf.table_file import TABLE_SUFFIXES
from kipoi_mcdropout.writers.atomic import check_free
from kipoi_mcdropout.writers.shards import JOURNAL, shard_folder

_VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz")


@dataclass(frozen=True)
class OutputPaths:
    """Where the outputs of a run go."""

    vcf: Path | None  # STDOUT is standard output
    table: Path | None
    skipped: Path | None
    shard: Shard | None = None  # only the parts of this shard are made, in a folder of their own

    @classmethod
    def check(
        cls,
        source: str | Path,
        vcf: str | Path | None,
        table: str | Path | None,
        skipped: str | Path | None,
        overwrite: bool,
        resume: bool,
        shard: Shard | None = None,
    ) -> OutputPaths:
        """Paths of outputs that can be made.

        Raises
        ------
        OutputError
            If one cannot, none is given, or two are the same file.
        InputError
            If a run from standard input, or to standard output, is to be resumed or sharded.
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
        check_not_inputs(given, {"the input VCF": source})
        check_free(given, overwrite)
        if resume and (is_stream(source) or str(vcf) == STDOUT):
            raise InputError(
                "a run from a pipe, or to standard output, cannot be resumed; give files"
            )
        if shard is not None and (is_stream(source) or str(vcf) == STDOUT):
            raise InputError("a shard needs files, not a pipe or standard output")
        first, second, third = (None if p is None else Path(p) for p in (vcf, table, skipped))
        return cls(first, second, third, shard)

    @property
    def folder(self) -> Path | None:
        """The shard's folder; None where this is the whole run."""
        return None if self.shard is None else shard_folder(self._first, self.shard)

    def part(self, name: str) -> Path | None:
        """The part file of an output (a field of this class) of a shard; None for the default place."""
        folder = self.folder
        return None if folder is None else folder / f"{name}.part"

    @property
    def _first(self) -> Path:
        return next(p for p in (self.vcf, self.table) if p is not None and str(p) != STDOUT)

    def to_dict(self) -> dict[str, str | None]:
        """The paths, complete, as plain values."""
        paths = {"vcf": self.vcf, "table": self.table, "skipped": self.skipped}
        return {name: None if path is None else str(path.absolute()) for name, path in paths.items()}

    @property
    def journal(self) -> Path | None:
        """The journal's file, beside the first output that is a file."""
        if self.folder is not None:
            return self.folder / JOURNAL
        for path in (self.vcf, self.table):
            if path is not None and str(path) != STDOUT:
                return part_of(path, "journal")
        return None
