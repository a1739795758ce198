"""Windows of a genome to run a model on: half of them on peaks, half away from any.

Coordinates are 0-based and half-open, as in BED. Interval arithmetic is bioframe's.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.sequence.bed import read_intervals
from kipoi_mcdropout.sequence.contig_names import alias_of, some_names
from kipoi_mcdropout.sequence.genome import Genome

__all__ = ["RegionOptions", "bed_text", "read_intervals", "sample_regions"]

_CANDIDATES_PER_REGION = 30  # random windows tried for each background window that is needed
_GC_TOLERANCE = 0.05  # largest difference of GC content that counts as matched


@dataclass(frozen=True)
class RegionOptions:
    """What to sample.

    `n` windows of `length_bp`, half centred on peaks (their summits where given), half background that
    touches no peak and no blacklisted interval. `strand` is "+" or "random". With `gc_match` each
    background window has the GC content of one on a peak, to within 0.05.
    """

    n: int
    length_bp: int
    seed: int = 0
    strand: str = "+"
    gc_match: bool = False
    chroms: tuple[str, ...] = ()  # only these; all if empty
    exclude_chroms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.n < 2 or self.n % 2:
            raise InputError(f"n must be an even number, half peaks and half background; got {self.n}")
        if self.length_bp < 1:
            raise InputError(f"length must be at least 1 bp; got {self.length_bp}")
        if self.seed < 0:
            raise InputError(f"seed must be 0 or more; got {self.seed}")
        if self.strand not in ("+", "random"):
            raise InputError(f"strand must be '+' or 'random'; got {self.strand!r}")


def sample_regions(
    fasta: str | Path,
    peaks: pd.DataFrame,
    options: RegionOptions,
    blacklist: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Sample windows equally from peaks and from background.

    Parameters
    ----------
    fasta : str or Path
        The genome, plain or bgzipped. Nothing is written beside it.
    peaks, blacklist : DataFrame
        As `read_intervals` gives them.

    Returns
    -------
    DataFrame
        chrom, start, end, name ("peak_..." or "background_..."), score (1 or 0), strand; in the order of
        the genome. Windows contain no N and are unique.

    Raises
    ------
    InputError
        If there are too few windows, with the numbers; if a contig of the options is not in the genome;
        or if contigs of the peaks or the blacklist are there by another name (1 and chr1), or none is.

    Warns
    -----
    InputWarning
        If some contigs of the peaks or the blacklist are not in the genome.
    """
    with Genome(fasta) as genome:
        _check_names([*options.chroms, *options.exclude_chroms], genome)
        _check_contigs("peaks", peaks, genome)
        if blacklist is not None:
            _check_contigs("blacklist", blacklist, genome)
        return _sample(genome, peaks, options, blacklist)


def _sample(
    genome: Genome, peaks: pd.DataFrame, options: RegionOptions, blacklist: pd.DataFrame | None
) -> pd.DataFrame:
    random = np.random.Generator(np.random.Philox(options.seed))
    sizes = {name: size for name, size in genome.lengths.items() if _wanted(name, options)}
    if not sizes:
        raise InputError(
            f"no contig of {genome.path} is left; it has {some_names(genome.lengths)}. Change chroms or "
            "exclude_chroms"
        )
    half = options.n // 2
    on_peaks = _on_peaks(peaks, blacklist, sizes, genome, options)
    if len(on_peaks) < half:
        raise InputError(
            f"{half} windows on peaks are required; of {len(peaks)} peaks {len(on_peaks)} give a window "
            "that lies in a contig, has no N and is unique. Lower -n, shorten the windows, or give "
            "more peaks"
        )
    chosen = on_peaks.iloc[np.sort(random.permutation(len(on_peaks))[:half])]
    taken = [peaks, *([] if blacklist is None else [blacklist])]
    background = _background(pd.concat(taken), sizes, genome, options, random)
    other = _matched(chosen, background) if options.gc_match else background.iloc[:half]
    if len(other) < half:
        raise InputError(
            f"{half} background windows are required; {len(other)} were found that touch no peak and "
            f"contain no N{' and have the GC content of a peak' if options.gc_match else ''}. Lower -n, "
            "shorten the windows, or allow more chromosomes"
        )
    both = pd.concat([chosen.assign(kind="peak", score=1), other.assign(kind="background", score=0)])
    order = {name: i for i, name in enumerate(sizes)}
    both = both.sort_values(["chrom", "start"], key=lambda c: c.map(order) if c.name == "chrom" else c)
    number = both.groupby("kind").cumcount().astype(str)
    both["name"] = both["kind"] + "_" + number
    strands = np.where(random.random(len(both)) < 0.5, "+", "-")
    both["strand"] = "+" if options.strand == "+" else strands
    columns = ["chrom", "start", "end", "name", "score", "strand"]
    regions: pd.DataFrame = both[columns].reset_index(drop=True)
    return regions


def _check_names(names: Sequence[str], genome: Genome) -> None:
    """Raise InputError unless every name is a contig of the genome."""
    if unknown := sorted(set(names) - set(genome.lengths)):
        raise InputError(
            f"{', '.join(unknown)} is not a contig of {genome.path}; it has {some_names(genome.lengths)}"
        )


def _check_contigs(what: str, intervals: pd.DataFrame, genome: Genome) -> None:
    """Refuse intervals that would be left out because of their contigs' names; warn of strange ones."""
    unknown = [name for name in intervals["chrom"].unique() if name not in genome.lengths]
    if not unknown:
        return
    told = f"contigs {some_names(unknown)} of the {what} are not in {genome.path}"
    aliases = {name: alias_of(name) for name in unknown if alias_of(name) in genome.lengths}
    if aliases:
        name, alias = next(iter(aliases.items()))
        raise InputError(
            f"{told}, which has {some_names(aliases.values())}. If {name} is {alias}, rename it in the "
            f"{what}: their contigs must have the genome's names"
        )
    if len(unknown) == intervals["chrom"].nunique():
        raise InputError(
            f"{told}, which has {some_names(genome.lengths)}. The {what} must be of this genome, with "
            "its names of contigs"
        )
    n = int(intervals["chrom"].isin(unknown).sum())
    warnings.warn(f"{told}; their {n} intervals are left out", InputWarning, stacklevel=4)


def _wanted(chrom: str, options: RegionOptions) -> bool:
    return (not options.chroms or chrom in options.chroms) and chrom not in options.exclude_chroms


def _on_peaks(
    peaks: pd.DataFrame,
    blacklist: pd.DataFrame | None,
    sizes: dict[str, int],
    genome: Genome,
    options: RegionOptions,
) -> pd.DataFrame:
    """Every usable window centred on a summit."""
    peaks = peaks[peaks["chrom"].isin(list(sizes))]
    start = peaks["summit"] - options.length_bp // 2
    windows = pd.DataFrame({"chrom": peaks["chrom"], "start": start})
    windows["end"] = windows["start"] + options.length_bp
    inside = (windows["start"] >= 0) & (windows["end"] <= windows["chrom"].map(sizes))
    windows = windows[inside].drop_duplicates(["chrom", "start"]).reset_index(drop=True)
    if blacklist is not None:
        windows = windows[_overlaps(windows, blacklist) == 0]
    return _with_gc(windows, genome)


def _background(
    avoid: pd.DataFrame,
    sizes: dict[str, int],
    genome: Genome,
    options: RegionOptions,
    random: np.random.Generator,
) -> pd.DataFrame:
    """Random windows that touch nothing to avoid, in random order."""
    room = {name: size - options.length_bp + 1 for name, size in sizes.items()}
    names = [name for name in room if room[name] > 0]
    if not names:
        raise InputError(
            f"no contig is as long as a window of {options.length_bp} bp; choose a smaller length"
        )
    weights = np.array([room[name] for name in names], float)
    n = options.n // 2 * _CANDIDATES_PER_REGION
    chrom = np.array(names)[random.choice(len(names), n, p=weights / weights.sum())]
    start = np.floor(random.random(n) * np.array([room[c] for c in chrom])).astype(np.int64)
    windows = pd.DataFrame({"chrom": chrom, "start": start, "end": start + options.length_bp})
    windows = windows.drop_duplicates(["chrom", "start"]).reset_index(drop=True)
    free = windows[_overlaps(windows, avoid) == 0].reset_index(drop=True)
    return _with_gc(free, genome)


def _overlaps(windows: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    try:
        import bioframe
    except ImportError as error:
        raise InputError("sampling regions needs bioframe: pip install bioframe") from error

    if len(windows) == 0 or len(others) == 0:
        return np.zeros(len(windows), int)
    with _quiet_bioframe():
        counted = bioframe.count_overlaps(
            windows[["chrom", "start", "end"]], others[["chrom", "start", "end"]]
        )
    counts: np.ndarray = counted["count"].to_numpy()
    return counts


@contextlib.contextmanager
def _quiet_bioframe() -> Iterator[None]:
    """Bioframe 0.8 uses pandas in a way that pandas 3 warns about; it is right all the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Warning, module="bioframe")
        yield


def _with_gc(windows: pd.DataFrame, genome: Genome) -> pd.DataFrame:
    """The windows made of A, C, G and T alone, with their share of G and C."""
    shares: list[float] = []
    for chrom, start, end in zip(windows["chrom"], windows["start"], windows["end"], strict=True):
        text = genome.bases(chrom, int(start), int(end))
        counts = {base: text.count(base) for base in "ACGT"}
        known = sum(counts.values()) == len(text)
        shares.append((counts["G"] + counts["C"]) / len(text) if known else np.nan)
    table: pd.DataFrame = windows.assign(gc=shares).dropna(subset=["gc"]).reset_index(drop=True)
    return table


def _matched(chosen: pd.DataFrame, background: pd.DataFrame) -> pd.DataFrame:
    """For each chosen window the free background window nearest to it in GC content."""
    left = background["gc"].to_numpy().copy()
    rows: list[int] = []
    for gc in chosen["gc"]:
        distance = np.abs(left - gc)
        best = int(np.argmin(np.where(np.isnan(distance), np.inf, distance))) if len(left) else -1
        if best >= 0 and distance[best] <= _GC_TOLERANCE:
            rows.append(best)
            left[best] = np.nan
    table: pd.DataFrame = background.iloc[rows]
    return table


def bed_text(regions: pd.DataFrame, columns: int = 6) -> str:
    """BED text of sampled regions.

    With six columns, or the first three: kipoiseq's SeqIntervalDl takes all columns after the third for
    labels of the model's outputs, so it cannot read six.
    """
    written = regions.iloc[:, :columns]
    bed: str = written.to_csv(sep="\t", header=False, index=False, lineterminator="\n")
    return bed
