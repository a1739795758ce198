"""Where variants come from: a file of any format that is known, standard input, or their names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.read.columns import check_columns
from kipoi_mcdropout.vcf.read.first_bytes import first_bytes, unpacked_start
from kipoi_mcdropout.vcf.read.input_stream import STDIN, check_is_input, is_bcf, is_stream
from kipoi_mcdropout.vcf.read.reader import VcfReader
from kipoi_mcdropout.vcf.read.record_reader import RecordReader
from kipoi_mcdropout.vcf.read.row_reader import RowReader, lines_of
from kipoi_mcdropout.vcf.read.rows import (
    FORMATS,
    InputFormat,
    check_no_columns,
    format_of,
    parser_of,
)
from kipoi_mcdropout.vcf.read.variant_names import FORMS, RowError, is_name, parse_name


@dataclass(frozen=True)
class VariantSource:
    """Variants that can be read, from the beginning each time where they are no stream.

    Attributes
    ----------
    path : str, Path or None
        A file, or "-" for standard input; None where names are given.
    names : tuple of str
        Variants such as chr1:1000:A>G.
    format : "auto", "vcf", "table", "bed" or "names"
        What the file is; "auto" finds out.
    columns : dict of str to str
        Columns of a table that are not to be found by their names, see `columns.Columns`.
    """

    path: str | Path | None
    names: tuple[str, ...] = ()
    format: InputFormat = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise InputError(
                f"input_format (--input_format) must be one of {', '.join(FORMATS)}; got {self.format!r}"
            )
        check_columns(self.columns)

    @property
    def is_stream(self) -> bool:
        """Whether it can be read only once."""
        return self.path is not None and is_stream(self.path)

    @property
    def file(self) -> Path | None:
        """The file, if it is one that can be read again."""
        return None if self.path is None or self.is_stream else Path(self.path)

    def open(
        self,
        region: str | None = None,
        contigs: Iterable[str] = (),
        judged: bool = False,
        margin: int = 0,
    ) -> RecordReader:
        """What reads the records; see `VcfReader` for the arguments."""
        if self.path is None:
            lines = [name.encode("utf-8", "surrogateescape") for name in self.names]
            parse = parser_of("names", self.columns)
            return RowReader("the variants given", lines, parse, region, contigs, noun="variant")
        check_is_input(self.path)
        is_stdin = str(self.path) == STDIN
        opened = sys.stdin.buffer if is_stdin else Path(self.path).open("rb")  # noqa: SIM115
        with ExitStack() as stack:
            if not is_stdin:
                stack.callback(opened.close)
            raw, start = first_bytes(opened)
            form = self._format_of(start)
            if form == "vcf":
                check_no_columns(self.columns, form)
                reader: RecordReader = VcfReader(self.path, region, contigs, judged, raw, margin)
            else:
                name = "standard input" if is_stdin else str(self.path)
                parse = parser_of(form, self.columns)
                reader = RowReader(name, lines_of(raw, name), parse, region, contigs)
            reader.closes(stack.pop_all())
            return reader

    def _format_of(self, start: bytes) -> str:
        if self.format != "auto":
            return self.format
        if self.columns and not is_bcf(start):
            return "table"
        text = unpacked_start(start).decode("utf-8", "replace")
        return "vcf" if is_bcf(start) else format_of(str(self.path), text)

    def recorded(self) -> dict[str, Any]:
        """What the record of a run says about it beside its file, as plain values; nothing of a VCF."""
        if self.path is None:
            return {"variants": list(self.names)}
        given = {} if self.format == "auto" else {"input_format": self.format}
        return {**given, **({"columns": dict(self.columns)} if self.columns else {})}

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; the path is complete."""
        path = None if self.path is None else str(Path(self.path).absolute())
        return {
            "path": path, "names": list(self.names), "format": self.format, "columns": dict(self.columns)
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VariantSource:
        """From what `to_dict` gave, of a file or of names."""
        return cls(values["path"], tuple(values["names"]), values["format"], values["columns"])


AnySource = str | Path | Sequence[str] | VariantSource


def as_source(
    given: AnySource, form: InputFormat = "auto", columns: Mapping[str, str] | None = None
) -> VariantSource:
    """The source of a path, "-", the name of a variant, or several names.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if isinstance(given, VariantSource):
        return given
    words = [given] if isinstance(given, (str, Path)) else list(given)
    if not words:
        raise InputError(f"variants must be a file or names such as {FORMS}; got none")
    one = words[0]
    if len(words) == 1 and (isinstance(one, Path) or not is_name(one) or os.path.exists(one)):
        return VariantSource(one, (), form, columns or {})
    for number, word in enumerate(words, start=1):
        try:
            parse_name(str(word))
        except RowError as error:
            file = ". Give one file alone" if os.path.exists(word) else ""
            raise InputError(f"variant {number}: {error}{file}") from error
    if form not in ("auto", "names"):
        raise InputError(f"input_format (--input_format) {form} is that of a file; got {words[0]}")
    check_no_columns(columns or {}, "names")
    return VariantSource(None, tuple(map(str, words)))
