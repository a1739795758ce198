"""The header of a VCF as text: what it declares, and lines added to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from kipoi_mcdropout.errors import InputError

_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,>]*)')
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


class Header:
    """Lines of a VCF header, kept as they are.

    Parameters
    ----------
    lines : sequence of str
        Without line ends, the last begins with "#CHROM".
    where : str
        Name of the file, for errors.

    Raises
    ------
    InputError
        If the first line or the column line is not that of a VCF.
    """

    def __init__(self, lines: Sequence[str], where: str) -> None:
        self.lines = list(lines)
        if not lines or not lines[0].startswith("##fileformat=VCF"):
            came = repr(lines[0][:80]) if lines else "nothing"
            raise InputError(f'{where}, line 1: a VCF must begin with "##fileformat=VCF"; got {came}')
        last = len(lines)
        if not lines[-1].startswith("#CHROM"):
            raise InputError(
                f"{where}, line {last + 1}: the line of columns, #CHROM ..., must end the header; it is "
                "missing"
            )
        columns = lines[-1].split("\t")
        fixed = COLUMNS.split("\t")
        if columns[:8] != fixed or (len(columns) > 8 and columns[8] != "FORMAT"):
            raise InputError(
                f"{where}, line {last}: the columns must be {' '.join(fixed)} [FORMAT samples], "
                f"apart by single tabs; got {lines[-1][:120]!r}"
            )
        samples = columns[9:]
        twice = {name for name in samples if samples.count(name) > 1} if len(samples) < 10_000 else set()
        if twice or len(columns) == 9:
            raise InputError(
                f"{where}, line {last}: FORMAT must be followed by samples of different names; got "
                f"{' '.join(columns[8:])[:120]}"
            )
        for number, line in enumerate(lines[1:-1], start=2):
            if not line.startswith("##") or "=" not in line:
                raise InputError(
                    f"{where}, line {number}: a header line must be ##key=value; got {line[:120]!r}"
                )
        self.n_columns = len(columns)

    def declared(self, key: str) -> dict[str, dict[str, str]]:
        """Fields of all structured lines such as ##contig=<ID=1,length=10>, by ID."""
        found: dict[str, dict[str, str]] = {}
        for line in self.lines:
            if line.startswith(f"##{key}=<"):
                fields = {k: v.strip('"') for k, v in _FIELD.findall(line.split("=", 1)[1])}
                if "ID" in fields:
                    found.setdefault(fields["ID"], fields)
        return found

    def contig_lengths(self) -> dict[str, int | None]:
        """Declared contigs, with their lengths where given as a number."""
        lengths: dict[str, int | None] = {}
        for name, fields in self.declared("contig").items():
            text = fields.get("length", "")
            lengths[name] = int(text) if text.isascii() and text.isdigit() else None
        return lengths

    def missing_contigs(self, genome_lengths: Mapping[str, int]) -> list[str]:
        """Lines that declare the genome's contigs, if the header declares none.

        Without any, htslib can read the records but not write them again.
        """
        if self.declared("contig"):
            return []
        return [f"##contig=<ID={name},length={length}>" for name, length in genome_lengths.items()]

    def with_lines(self, added: Sequence[str]) -> list[str]:
        """The header with lines added before the column line."""
        return [*self.lines[:-1], *added, self.lines[-1]]


def description(text: str) -> str:
    """A text as the quoted value of a Description."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'
