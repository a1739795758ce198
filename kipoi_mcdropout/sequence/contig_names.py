"""Names of contigs in one file and in another: the same, or told apart by a leading "chr"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from kipoi_mcdropout.errors import InputError

ContigMap = Mapping[str, str] | str | Path  # or the file that it is in

_PREFIX = "chr"


def alias_of(contig: str) -> str:
    """The name with a leading "chr", or without it."""
    return contig[len(_PREFIX) :] if contig.startswith(_PREFIX) else _PREFIX + contig


def some_names(names: Iterable[str]) -> str:
    """The first names of many."""
    given = list(names)
    return ", ".join(given[:8]) + (", ..." if len(given) > 8 else "")


def contig_map_of(given: ContigMap | None) -> dict[str, str]:
    """The contig map, read where it is in a file; empty where none is given."""
    if given is None:
        return {}
    return dict(given) if isinstance(given, Mapping) else read_contig_map(given)


def read_contig_map(path: str | Path) -> dict[str, str]:
    """Read a file of two columns, the name in the input and the name in the FASTA, apart by white space.

    Raises
    ------
    InputError
        If it cannot be read, a line has not two columns, or a name is mapped twice.
    """
    mapping: dict[str, str] = {}
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text (UTF-8)"
        raise InputError(f"the contig map {path} cannot be read: {reason}. Check the path") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 2 or mapping.get(words[0], words[-1]) != words[-1]:
            raise InputError(
                f"{path}, line {number}: two columns are required, the name of a contig and its name in "
                f"the FASTA, each contig once; got {line[:80]!r}"
            )
        mapping[words[0]] = words[1]
    return mapping


def check_contig_map(contig_map: Mapping[str, str], genome_lengths: Mapping[str, int]) -> None:
    """Raise InputError where the map has a name that the genome has not."""
    for name, target in contig_map.items():
        if target not in genome_lengths:
            raise InputError(
                f"the contig map sends {name!r} to {target!r}, which the genome does not have. Its "
                f"contigs: {some_names(genome_lengths)}"
            )


def contigs_of_regions(
    wanted: Iterable[str], genome_lengths: Mapping[str, int], contig_map: Mapping[str, str], fasta: Path
) -> dict[str, str]:
    """Name in the genome of each contig of a BED file: by the map, else the same name.

    A name that differs by a leading "chr" is not enough: a BED file gives no length by which it could be
    checked. The message proposes it.

    Raises
    ------
    InputError
        If a contig is not in the genome; all of them are named.
    """
    check_contig_map(contig_map, genome_lengths)
    found = {name: contig_map.get(name, name) for name in dict.fromkeys(wanted)}
    unknown = [name for name, target in found.items() if target not in genome_lengths]
    if not unknown:
        return found
    unlike = {name: alias_of(name) for name in unknown if alias_of(name) in genome_lengths}
    if unlike:
        pair = " ".join(next(iter(unlike.items())))
        raise InputError(
            f"the FASTA {fasta} has no contigs {some_names(unlike)}; it has "
            f"{some_names(unlike.values())}. If they are the same contigs, give a contig map "
            f"(--contig_map FILE, lines such as: {pair})"
        )
    raise InputError(
        f"contigs {some_names(unknown)} of the regions are not in {fasta}, which has "
        f"{some_names(genome_lengths)}. The regions must be of this genome; a contig map (--contig_map "
        "FILE, two columns) gives other names"
    )
