"""What a background is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.background import MIN_EFFECTS
from kipoi_mcdropout.significance.same_run import centre_of


@dataclass(frozen=True)
class BackgroundOptions:
    """What a background is made of.

    Parameters
    ----------
    n_effects : int
        Number of random substitutions, in all windows together.
    per_window : int
        Substitutions in one window. Fewer, in more windows, are more independent of each other and need
        more time.
    sample_seed : int
        Of the shuffles and of the choice of substitutions. (`seed` is that of the dropout masks, which
        must be that of the run.)
    from_regions : bool
        Instead of shuffling the windows, take windows of the genome that touch none of them and have the
        same GC content. Needs fasta and regions.
    for_variants : bool
        Mutate only the middle of the window, where `score_variants` puts a variant.
    start, end : int
        Positions that are mutated, 0-based and half-open; by default the whole window. Those of the run.
    """

    n_effects: int = 10_000
    per_window: int = 25
    sample_seed: int = 0
    from_regions: bool = False
    for_variants: bool = False
    start: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        if self.n_effects < MIN_EFFECTS:
            raise InputError(
                f"n_effects must be at least {MIN_EFFECTS}, so that there is something to rank among; "
                f"got {self.n_effects}"
            )
        if self.per_window < 1:
            raise InputError(f"per_window must be at least 1; got {self.per_window}")
        if self.sample_seed < 0:
            raise InputError(f"sample_seed must be 0 or more; got {self.sample_seed}")
        if self.for_variants and (self.start, self.end) != (0, None):
            raise InputError(
                "for_variants chooses the positions itself; give either it or start and end"
            )

    @property
    def n_windows(self) -> int:
        """Number of windows with substitutions."""
        return -(-self.n_effects // self.per_window)

    def on(self, length: int, n_bases: int = 4) -> BackgroundOptions:
        """The same for windows of a length, bp, with the positions that are mutated.

        A window whose positions have fewer substitutions than `per_window` gives what it has.

        Raises
        ------
        InputError
            If the positions do not lie in the window.
        """
        start, end = self.start, length if self.end is None else self.end
        if self.for_variants:
            start, end = centre_of(length)
        if not 0 <= start < end <= length:
            raise InputError(
                f"start and end must satisfy 0 <= start < end <= {length}, the number of positions; got "
                f"start={start}, end={end}"
            )
        most = min(self.per_window, (end - start) * (n_bases - 1))
        return replace(self, per_window=most, for_variants=False, start=start, end=end)

    @property
    def windows(self) -> str:
        """What the windows are, for the record."""
        return "regions of the genome, matched for GC" if self.from_regions else "dinucleotide shuffles"
