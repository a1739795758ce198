"""The records of a VCF that kipoi-veff scores as they are; the others are left out, each by name."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from kipoi_mcdropout.vcf.read.alleles import unscorable
from kipoi_mcdropout.vcf.read.reader import VcfReader
from kipoi_mcdropout.vcf.read.record import Record

# What kipoi-veff 0.3.1 does with the records that are left out.
REASONS = {
    "multi_allelic": "scores only the first ALT",
    "not_snv": "loses or changes indels and MNVs",
    "no_alt": "loses records without ALT",
    "symbolic": "scores such an allele as a missing base",
    "overlapping_deletion": "scores such an allele as a missing base",
    "breakend": "scores such an allele as a missing base",
    "ambiguous_base": "scores such an allele as a missing base",
    "alt_is_ref": "scores an allele that equals REF",
    "malformed_allele": "changes such an allele",
    "contig_renamed": "changes the name of the contig to that of another",
    "edge": "stops at a window over the end of a contig",
}
_PLAIN_CONTIG = re.compile(r"(chr)?(\d+|[XYM]|MT)\Z")


@dataclass
class Filtered:
    """What was kept, and why the rest was not."""

    kept: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    without_chr: Counter[str] = field(default_factory=Counter)  # contigs that veff calls chr...
    n_samples: int = 0

    def warnings(self) -> list[str]:
        """A sentence for each thing that differs from what a user expects of the input."""
        lines = [
            f"{n} records are left out ({reason}): kipoi-veff {REASONS[reason]}. "
            "`kipoi mcdropout score_variants` scores or reports them"
            for reason, n in sorted(self.left_out.items())
        ]
        if self.without_chr:
            names = ", ".join(sorted(self.without_chr)[:5])
            lines.append(f"kipoi-veff looks for contigs {names} under names that begin with chr")
        return lines


def filter_snvs(source: str | Path, target: Path, window: tuple[int, int] | None) -> Filtered:
    """Write the records that kipoi-veff scores rightly, in their order, as plain text.

    Parameters
    ----------
    source : str or Path
        VCF, compressed or not.
    target : Path
    window : (int, int), optional
        Bases before and after POS in a window, where kipoi-veff makes the windows.
    """
    result = Filtered()
    text = {"encoding": "utf-8", "errors": "surrogateescape"}
    with VcfReader(source) as reader, target.open("w", **text) as file:  # type: ignore[call-overload]
        result.n_samples = max(reader.header.n_columns - 9, 0)
        lengths = reader.header.contig_lengths()
        file.write("\n".join(reader.header.lines) + "\n")
        for record in reader:
            reason = _reason(record, lengths.get(record.contig), window)
            if reason is not None:
                result.left_out[reason] += 1
                continue
            if not record.contig.startswith("chr"):
                result.without_chr[record.contig] += 1
            result.kept += 1
            file.write(record.text + "\n")
    return result


def _reason(record: Record, length: int | None, window: tuple[int, int] | None) -> str | None:
    if len(record.alts) > 1:
        return "multi_allelic"
    skip = unscorable(record.ref, record.alts[0])
    if skip is not None:
        return skip.reason
    if len(record.ref) != 1 or len(record.alts[0]) != 1:
        return "not_snv"
    if not _PLAIN_CONTIG.match(record.contig) and _renamed(record.contig) != record.contig:
        return "contig_renamed"
    if window is not None:
        before, after = window
        if record.pos - before < 1 or (length is not None and record.pos + after > length):
            return "edge"
    return None


def _renamed(contig: str) -> str:
    """What kipoi-veff makes of the name of a contig."""
    return "chr" + contig.strip("chr")
