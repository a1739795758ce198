"""A window along the bins of an output: all of them, some about the centre, or a range."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kipoi_mcdropout.errors import InputError

_RANGE = re.compile(r"(\d+):(\d+)")


@dataclass(frozen=True)
class Bins:
    """Which bins of an output are taken; all of them where nothing is said.

    Attributes
    ----------
    center : int, optional
        So many bins about the centre of the axis: of `n` bins those from `(n - center) // 2`. Where
        they cannot lie evenly, there is one bin more on the right.
    range : tuple of int, optional
        First bin and the one after the last, 0-based.
    word : str
        As it stands in the name of an output: "32", "512bp", "10:20"; "" for all.

    Raises
    ------
    InputError
        If the window has no bin, or both ways are given.

    >>> Bins(center=2, word="2").of(6, "the output")
    (2, 4)
    """

    center: int | None = None
    range: tuple[int, int] | None = None
    word: str = ""

    def __post_init__(self) -> None:
        if self.center is not None and self.range is not None:
            raise InputError("a window is either about the centre or a range of bins; got both")
        if self.center is not None and self.center < 1:
            raise InputError(f"a window about the centre must have 1 bin or more; got {self.center}")
        if self.range is not None and not 0 <= self.range[0] < self.range[1]:
            start, end = self.range
            raise InputError(
                "bins must be START:END with 0 <= START < END (0-based, END is not in it); got "
                f"{start}:{end}"
            )

    def of(self, n_bins: int, what: str) -> tuple[int, int]:
        """First bin and the one after the last, for an axis of `n_bins`.

        Raises
        ------
        InputError
            If the window has bins that the axis has not; `what` names the output.
        """
        if self.center is not None:
            if self.center > n_bins:
                raise InputError(
                    f"a window of {self.center} bins about the centre needs as many bins; {what} has "
                    f"{n_bins}"
                )
            start = (n_bins - self.center) // 2
            return start, start + self.center
        if self.range is None:
            return 0, n_bins
        start, end = self.range
        if end > n_bins:
            raise InputError(f"bins {start}:{end} lie outside: {what} has the bins 0:{n_bins}")
        return start, end


ALL_BINS = Bins()


def whole_number(value: object, name: str) -> int:
    """A whole number; InputError for anything else."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InputError(f"{name} must be a whole number; got {value!r}")
    return int(value.__index__())


def bins_of_bp(center_bp: int, bin_bp: int | None) -> int:
    """Bins of a window in bp.

    Raises
    ------
    InputError
        If the width of a bin is not given, or the window is no multiple of it.
    """
    if bin_bp is None:
        raise InputError(
            f"a window in bp (center_bp {center_bp}) needs bin_bp (--bin_bp), the width of a bin: 32 "
            "for Borzoi, 128 for Enformer, 1 for a profile with a number for each base"
        )
    if bin_bp < 1 or center_bp < 1:
        raise InputError(f"center_bp and bin_bp must be 1 or more; got {center_bp} and {bin_bp}")
    if center_bp % bin_bp:
        below = center_bp // bin_bp * bin_bp
        near = [str(n) for n in (below, below + bin_bp) if n > 0]
        raise InputError(
            f"center_bp must be a multiple of bin_bp, {bin_bp}; got {center_bp}. Nearest: "
            f"{' or '.join(near)}"
        )
    return center_bp // bin_bp


def parse_range(value: str | tuple[int, int]) -> Bins:
    """The bins of "START:END", or of a pair of numbers."""
    if isinstance(value, str):
        found = _RANGE.fullmatch(value)
        if found is None:
            raise InputError(f"bins must be START:END, such as 440:456; got {value!r}")
        pair = int(found[1]), int(found[2])
    else:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise InputError(f"bins must be START:END, or a pair of numbers; got {value!r}")
        pair = whole_number(value[0], "bins"), whole_number(value[1], "bins")
    return Bins(range=pair, word=f"{pair[0]}:{pair[1]}")


def parse_window(text: str, bin_bp: int | None) -> Bins:
    """A window as it stands behind the @ of a reduction: "32" bins, "512bp", or "440:456".

    Raises
    ------
    InputError
        If it is none of these.
    """
    if _RANGE.fullmatch(text):
        return parse_range(text)
    if text.endswith("bp") and text[:-2].isdecimal():
        return Bins(center=bins_of_bp(int(text[:-2]), bin_bp), word=text)
    if text.isdecimal():
        return Bins(center=int(text), word=text)
    raise InputError(
        "the window behind @ must be a number of bins about the centre (sum@32), the same in bp "
        f"(sum@512bp), or bins (sum@440:456); got {text!r}"
    )
