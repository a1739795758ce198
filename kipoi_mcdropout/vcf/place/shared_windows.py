"""Records that lie close together share one window, so that its reference is computed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.place.windows import centre_of
from kipoi_mcdropout.vcf.read.record import Record


def shared(records: Iterable[Record], share_bp: int) -> Iterator[Record]:
    """The records in order, with the middle of the window that they share.

    A group begins with a record and has those that follow it directly, on the same contig, not before
    it and at most `share_bp` bases behind it. So who shares a window depends on the records alone; the
    records of one group are in memory.
    """
    group: list[Record] = []
    for record in records:
        if group and not _near(group[0], record, share_bp):
            yield from _about_middle(group)
            group = []
        group.append(record)
    yield from _about_middle(group)


def check_share(share_bp: int, length: int, shifts: tuple[int, ...]) -> None:
    """Refuse a distance at which a variant could lie outside of the shared window.

    Parameters
    ----------
    share_bp : int
        See `shared`; the window is about the middle of the first and the last of a group.
    length : int
        Of the window, bp.

    Raises
    ------
    InputError
        If it is negative, or too long.
    """
    index = centre_of(length)
    before, after = index - max(shifts), length - 1 - index + min(shifts)
    most = min(2 * before + 1, 2 * after)
    if not 0 <= share_bp <= most:
        moved = "" if tuple(shifts) == (0,) else " with these shifts"
        raise InputError(
            f"share_windows (--share_windows) must be from 0 to {most}, so that all variants lie in the "
            f"window of {length} bp{moved}; got {share_bp}"
        )


def _near(first: Record, record: Record, share_bp: int) -> bool:
    return record.contig == first.contig and 0 <= record.pos - first.pos <= share_bp


def _about_middle(group: list[Record]) -> Iterator[Record]:
    if len(group) < 2:
        yield from group
        return
    positions = [record.pos for record in group]
    middle = (min(positions) + max(positions)) // 2 - 1
    for record in group:
        yield replace(record, middle=middle)
