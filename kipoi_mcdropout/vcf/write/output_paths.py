"""Where the outputs of a run over a VCF go."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.files import EFFECT_TABLE_SUFFIXES
from kipoi_mcdropout.files.atomic import STDOUT, check_free
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.files.same_file import check_not_inputs
from kipoi_mcdropout.runs.shard import Shard
from kipoi_mcdropout.vcf.read.source import VariantSource

_VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz")


@dataclass(frozen=True)
class OutputPaths:
    """Where the outputs of a run go."""

    vcf: Path | None  # STDOUT is standard output
    table: Path | None
    skipped: Path | None
    shard: Shard | None = None  # only the units of this shard are computed
    overwrite: bool = False
    resume: bool = False
    resumable: bool = True  # no streams

    @classmethod
    def check(
        cls,
        source: VariantSource,
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
            hint = "; a table is given with -t" if str(vcf).endswith(EFFECT_TABLE_SUFFIXES) else hint
            raise OutputError(f"output must end in {', '.join(_VCF_SUFFIXES)}; got {vcf}{hint}")
        if table is not None and not str(table).endswith(EFFECT_TABLE_SUFFIXES):
            raise OutputError(f"table must end in {', '.join(EFFECT_TABLE_SUFFIXES)}; got {table}")
        check_not_inputs(given, {"the input": source.path})
        check_free(given, overwrite or resume)
        streams = source.is_stream or str(vcf) == STDOUT
        if resume and streams:
            raise InputError(
                "a run that reads from a pipe or writes to standard output cannot be resumed; give files"
            )
        if shard is not None and streams:
            raise InputError("a shard needs files, not a pipe or standard output")
        first, second, third = (None if p is None else Path(p) for p in (vcf, table, skipped))
        return cls(first, second, third, shard, overwrite, resume, not streams)

    def check_table(self, what: str) -> None:
        """Raise OutputError for something that only the table has a place for, where there is none."""
        if self.table is None:
            raise OutputError(
                f"{what} adds columns to the table, and the annotated VCF has no place for them; give a "
                "table too (-t, or output=[..., 'table.parquet'])"
            )

    def all(self) -> tuple[Path, ...]:
        """The outputs that were asked for, the VCF first."""
        return tuple(path for path in (self.vcf, self.table, self.skipped) if path is not None)

    def to_dict(self) -> dict[str, str | None]:
        """The paths, complete, as plain values."""
        paths = {"vcf": self.vcf, "table": self.table, "skipped": self.skipped}
        return {name: None if path is None else str(path.absolute()) for name, path in paths.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, str | None], overwrite: bool) -> OutputPaths:
        """From what `to_dict` gave."""
        names = ("vcf", "table", "skipped")
        vcf, table, skipped = (None if (p := values[name]) is None else Path(p) for name in names)
        return cls(vcf, table, skipped, overwrite=overwrite)

    def provenance_of(self, path: Path) -> dict[str, Any] | None:
        """What an output says about its run; None for the skipped alleles, which say nothing.

        Raises
        ------
        InputError
            If it was not written by this package.
        """
        if path == self.skipped:
            return None
        return vcf_provenance(path) if path == self.vcf else read_provenance(path)


def vcf_provenance(path: Path) -> dict[str, Any]:
    """What the header of an annotated VCF says about its run.

    Raises
    ------
    InputError
        If it says nothing.
    """
    mark = b"##kipoi_mcdropout="
    with gzip.open(path) if path.name.endswith("gz") else path.open("rb") as lines:
        try:
            for line in itertools.takewhile(lambda line: line.startswith(b"##"), lines):
                if line.startswith(mark):
                    record: dict[str, Any] = json.loads(line[len(mark) :])
                    return record
        except (OSError, EOFError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}. Write it again") from error
    raise InputError(f"{path} was not written by kipoi_mcdropout: its header does not say so")
