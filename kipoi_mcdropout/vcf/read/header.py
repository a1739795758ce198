"""The header of a VCF as text: what it declares, and lines added to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from kipoi_mcdropout.errors import InputError

_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,>]*)')
_LEFT_OUT = re.compile("[%\x00-\x1f\x7f-\x9f\u2028\u2029]")
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
N_FIXED_COLUMNS = 8


class Header:
    """Lines of a VCF header, kept as they are.

    Parameters
    ----------
    lines : sequence of str
        With their line ends, if any; the last begins with "#CHROM".
    where : str
        Name of the file, for errors.

    Raises
    ------
    InputError
        If the first line or the column line is not that of a VCF.
    """

    def __init__(self, lines: Sequence[str], where: str) -> None:
        self._ends = [line[len(line.rstrip("\r\n")) :] for line in lines]
        lines = self.lines = [line.rstrip("\r\n") for line in lines]
        if not lines or not lines[0].startswith("##fileformat=VCF"):
            came = repr(lines[0][:80]) if lines else "nothing"
            raise InputError(f'{where}, line 1: a VCF must begin with "##fileformat=VCF"; got {came}')
        last = len(lines)
        if not lines[-1].startswith("#CHROM"):
            cut = lines[-1].startswith("##")
            came = "it is missing" if cut else f"got {lines[-1][:80]!r}"
            raise InputError(
                f"{where}, line {last + cut}: the header must end with the line of columns, #CHROM ...; "
                f"{came}"
            )
        columns = lines[-1].split("\t")
        fixed = COLUMNS.split("\t")
        if columns[:8] != fixed or (len(columns) > 8 and columns[8] != "FORMAT"):
            raise InputError(
                f"{where}, line {last}: the columns must be {' '.join(fixed)} [FORMAT samples], "
                f"separated by single tabs; got {lines[-1][:120]!r}"
            )
        samples = columns[9:]
        twice = {name for name in samples if samples.count(name) > 1} if len(samples) < 10_000 else set()
        if twice or len(columns) == 9:
            raise InputError(
                f"{where}, line {last}: FORMAT must be followed by samples with different names; got "
                f"{' '.join(columns[8:])[:120]}"
            )
        self.n_columns = len(columns)
        self.samples = samples

    def odd_lines(self) -> list[tuple[int, str]]:
        """Lines, with their numbers from 1, that are not ##key=value; htslib passes over them."""
        return [(n, line) for n, line in enumerate(self.lines[:-1], start=1) if "=" not in line]

    def for_htslib(self) -> str:
        """The header without samples, and without what htslib would complain of."""
        lines = [line for line in self.lines[:-1] if "=" in line]
        return htslib_text("\n".join([*lines, COLUMNS]) + "\n")

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

    def text(self, added: Sequence[str]) -> str:
        """The header as it came, byte for byte, with lines added before the column line."""
        end = self._ends[0] or "\n"
        lines = [line + kept for line, kept in zip(self.lines, self._ends, strict=True)]
        last = self.lines[-1] + (self._ends[-1] or end)
        return "".join([*lines[:-1], *(line + end for line in added), last])


def htslib_text(text: str) -> str:
    """Text as cyvcf2 can take it: bytes that are no UTF-8 become other letters."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def quoted(text: str) -> str:
    r"""Any text as a quoted value of a header line, from which `unquoted` makes the text again.

    A quote and a backslash have a backslash before them, as the VCF standard has it; a percent sign and
    what may not stand in a line (tabs, line ends, other control characters) are percent-encoded, as the
    standard has it in values of INFO.

    >>> print(quoted('50% "A"\tB'))
    "50%25 \"A\"%09B"
    """
    safe = "".join(_encoded(letter) if _LEFT_OUT.match(letter) else letter for letter in text)
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquoted(value: str) -> str:
    """The text of a value that `quoted` wrote, with its quotes or without them."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return unquote(re.sub(r"\\(.)", r"\1", value))


def _encoded(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))
