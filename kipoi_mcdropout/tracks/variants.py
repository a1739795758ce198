"""The alleles of a VCF as bigBed and BED, coloured by effect."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.z import z_of_piece
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.plots.style import BLUE, VERMILLION
from kipoi_mcdropout.tracks.bed_files import BED_COLUMNS, write_bed, write_bigbed
from kipoi_mcdropout.tracks.result import Labels, Result, chosen_labels
from kipoi_mcdropout.tracks.track_files import TrackFiles, TrackOptions

_GREY = (217, 217, 217)  # of an effect of 0
_FULL_COLOUR_QUANTILE = 0.99
_LONGEST_ALLELE = 20  # of a name
_TRACK = "variants"
_COLOURS = (
    "from grey (no effect) to vermillion (the effect is positive) or blue (negative); the full colour "
    "from |effect| = full_colour on"
)


def write_variants(result: Result, prefix: str, score: str, options: TrackOptions) -> TrackFiles:
    """Write the alleles of a result of `score_variants`; see `write.write_tracks`."""
    files = TrackFiles(result, prefix, options, {"score": score, "colours": _COLOURS})
    rows = _rows(result, score)
    labels = chosen_labels(list(dict.fromkeys(rows["output"])), options.outputs, result.name)
    files.check(labels, (_TRACK,))
    rows = rows[rows["output"].isin(labels)]
    ends = (rows["start"] + rows["ref"].str.len()).groupby(rows["chrom"], sort=False).max()
    sizes = files.sizes({str(name): int(end) for name, end in ends.items()})
    for label, part in _outputs(rows, labels):
        full_colour = options.full_colour or _full_colour(part["effect"].to_numpy())
        table = _bed(part, full_colour)
        about = {"alleles": len(table), "full_colour": full_colour}
        for kind, suffix in files.suffixes.items():
            with files.file(label, _TRACK, suffix, {"format": kind, **about}) as path:
                if kind == "bigbed":
                    write_bigbed(path, sizes, table, label, score)
                else:
                    write_bed(path, table, files.record)
        full = f"full colour from {full_colour:.3g}"
        files.lines.append(f"{label} ({score}): {len(table):,} alleles, {full}")
    files.finish()
    return files


def _rows(result: Result, score: str) -> pd.DataFrame:
    """Columns chrom, start (0-based), id, ref, alt, output, effect, sd, z, where effect is finite."""
    parts = [_compact(piece[piece["score"] == score], result) for piece in result.read(None, score)]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if not len(rows):
        raise InputError(f"{result.name} has no allele of score {score}: there is nothing to write")
    known = np.isfinite(rows["effect"])
    if n := int((~known).sum()):
        warnings.warn(
            f"{n:,} effects of alleles on outputs are not finite, and are left out of the tracks",
            InputWarning,
            stacklevel=3,
        )
    finite: pd.DataFrame = rows[known]
    return finite


def _compact(piece: pd.DataFrame, result: Result) -> pd.DataFrame:
    rows: pd.DataFrame = piece[["chrom", "id", "ref", "alt", "output"]].copy()
    rows["start"] = (piece["pos"].astype(np.int64) - 1).clip(lower=0)
    rows["effect"] = piece[result.effect].astype(np.float32)
    rows["sd"] = piece["effect_sd"].astype(np.float32)
    rows["z"] = _z(piece).astype(np.float32)
    return rows


def _z(piece: pd.DataFrame) -> NDArray[np.float64]:
    """That of the table; of a VCF, which may have none, the quotient. NaN where the sd is 0."""
    if "z" in piece:
        return piece["z"].to_numpy(np.float64)
    z = z_of_piece(piece)
    return np.where(np.isfinite(z) & (piece["effect_sd"].to_numpy(np.float64) > 0), z, np.nan)


def _outputs(rows: pd.DataFrame, labels: Labels) -> Iterator[tuple[str, pd.DataFrame]]:
    by_output = dict(iter(rows.groupby("output", sort=False)))
    for label in labels:
        yield label, by_output[label]


def _full_colour(effect: NDArray[np.float32]) -> float:
    """The 99th percentile of |effect|; 1 where all effects are 0."""
    return float(np.quantile(np.abs(effect), _FULL_COLOUR_QUANTILE)) or 1.0


def _bed(rows: pd.DataFrame, full_colour: float) -> pd.DataFrame:
    """The columns of BED9 and our own, sorted by contig and position."""
    effect = rows["effect"].to_numpy(np.float64)
    share = np.clip(effect / full_colour, -1, 1)
    end = rows["start"] + rows["ref"].str.len()
    table = pd.DataFrame(
        {
            "chrom": rows["chrom"],
            "start": rows["start"],
            "end": end,
            "name": [name_of(*row) for row in zip(*(rows[c] for c in _NAMED), strict=True)],
            "score": np.round(1000 * np.abs(share)).astype(int),
            "strand": ".",
            "thickStart": rows["start"],
            "thickEnd": end,
            "itemRgb": colours(share),
            "effect": rows["effect"],
            "sd": rows["sd"],
            "z": rows["z"],
            "ref": rows["ref"],
            "alt": rows["alt"],
        }
    )
    sorted_table: pd.DataFrame = table.sort_values(["chrom", "start", "end"], kind="stable")
    columns: pd.DataFrame = sorted_table[list(BED_COLUMNS)]
    return columns


_NAMED = ("chrom", "start", "id", "ref", "alt")


def name_of(chrom: str, start: int, identifier: str, ref: str, alt: str) -> str:
    """The ID of the VCF with the alleles, or the place with them: chr1:100:A>C."""
    place = f"{chrom}:{start + 1}" if identifier in (".", "") else identifier
    return f"{place}:{_short(ref)}>{_short(alt)}"


def _short(allele: str) -> str:
    if len(allele) <= _LONGEST_ALLELE:
        return allele
    return f"{allele[: _LONGEST_ALLELE // 2]}...{len(allele)}bp"


def colours(share: NDArray[np.float64]) -> list[str]:
    """Colours as BED has them, "r,g,b": from grey at 0 to vermillion at 1 and blue at -1.

    >>> colours(np.array([0.0, 1.0, -1.0]))
    ['217,217,217', '213,94,0', '0,114,178']
    """
    ends = np.where(share[:, None] < 0, _rgb(BLUE), _rgb(VERMILLION))
    mixed = np.round(_GREY + (ends - _GREY) * np.abs(share)[:, None]).astype(int)
    return [f"{r},{g},{b}" for r, g, b in mixed.tolist()]


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))
