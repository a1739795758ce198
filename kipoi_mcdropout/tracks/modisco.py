"""The two arrays that TF-MoDISco reads: one-hot sequences, and hypothetical contributions."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.score_names import UNSIGNED_SCORES
from kipoi_mcdropout.errors import InputError, InputWarning, OutputError
from kipoi_mcdropout.files.atomic import atomic_path, check_free
from kipoi_mcdropout.files.effects import Effects
from kipoi_mcdropout.files.same_file import check_not_inputs
from kipoi_mcdropout.mr.export.file_names import safe_file_name
from kipoi_mcdropout.tracks.result import Labels, Outputs, Result, open_result
from kipoi_mcdropout.tracks.windows import Window, iter_windows

_BASES = {"A": 0, "C": 1, "G": 2, "T": 3, "U": 3}
_SUFFIX = ".npz"
_WORDS = {"contributions": "", "weighted": ", weighted by the sd"}


@dataclass(frozen=True)
class Contributions:
    """What motif discovery reads, for some outputs of a model.

    Attributes
    ----------
    one_hot : numpy.ndarray of int8, shape=(sequences, 4, positions)
        Bases A, C, G, T (or U); all 0 where nothing was mutated, as at an N.
    hypothetical : dict of str to numpy.ndarray of float32, each shape=(sequences, 4, positions)
        By output; 0 where a substitution has no finite effect.
    n_undefined : int
        Positions, of all sequences and outputs, where it is 0 for this reason.
    """

    one_hot: NDArray[np.int8]
    hypothetical: dict[str, NDArray[np.float32]]
    weighted: dict[str, NDArray[np.float32]]
    n_undefined: int


def write_modisco(
    effects: Effects | str | Path,
    path: str | Path,
    *,
    outputs: Outputs = None,
    score: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a mutagenesis as the command `modisco motifs` of tfmodisco-lite reads it.

    For `motifs.npz` these are `motifs.sequences.npz` (its `-s`), and for each output
    `motifs.OUTPUT.contributions.npz` (its `-a`) and `motifs.OUTPUT.weighted.npz`, each with one array
    `arr_0` of shape (sequences, 4, positions).

    The hypothetical contribution of base b at a position is the effect of b minus the mean effect of the
    three other bases, where the effect of the reference's base is 0. At the reference's base it is minus
    the mean effect of the alternatives: the `importance` of `write_tracks`. `weighted` is the same with
    each effect multiplied by ``effect**2 / (effect**2 + sd**2)``, which is 1/2 where the effect equals
    its sd, and near 1 where it is far above it.

    Parameters
    ----------
    effects : Effects, str or Path
        Of `ism`, of all alternatives of each position. Coordinates are not needed.
    path : str or Path
        .npz, from which the names are made.
    outputs : str, int, or sequence of them, optional
        By label, index or pattern; all by default, where there are at most 20.
    score : str, optional
        By default diff, else logit, else the first that is an effect.
    overwrite : bool
        Replace files that exist.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        If the effects are those of a VCF or have no sign, a position lacks an alternative, or a letter
        is no base.
    OutputError
        If a file exists, or cannot be made.

    Warns
    -----
    InputWarning
        If positions have no substitution, or an effect that is not finite.
    """
    result = open_result(effects)
    if result.is_variants:
        raise InputError(
            f"motif discovery needs all substitutions of whole sequences, and {result.name} has the "
            "alleles of a VCF. Give the result of `ism`"
        )
    name = result.score(score)
    if name in UNSIGNED_SCORES:
        raise InputError(
            f"score {name} {UNSIGNED_SCORES[name]}. Motif discovery needs a score with a sign"
        )
    paths = _Paths(result, path, overwrite)
    found = _contributions(result, name, outputs, paths)
    _save(paths.sequences, found.one_hot, overwrite)
    written = [paths.sequences]
    for kind, arrays in (("contributions", found.hypothetical), ("weighted", found.weighted)):
        for label, array in arrays.items():
            written.append(paths.of(label, kind))
            _save(written[-1], array, overwrite)
    _warn(found)
    return written


class _Paths:
    """Names of the files, made from one."""

    def __init__(self, result: Result, path: str | Path, overwrite: bool) -> None:
        if not str(path).endswith(_SUFFIX):
            raise OutputError(f"the output for motif discovery must end in {_SUFFIX}; got {path}")
        self._stem = str(path).removesuffix(_SUFFIX)
        self._result = result
        self._overwrite = overwrite
        self.sequences = Path(f"{self._stem}.sequences{_SUFFIX}")

    def of(self, label: str, kind: str) -> Path:
        """The file of an output."""
        return Path(f"{self._stem}.{safe_file_name(label)}.{kind}{_SUFFIX}")

    def check(self, labels: Labels) -> None:
        """Raise OutputError unless all files can be made."""
        paths = [self.sequences, *(self.of(label, kind) for label in labels for kind in _WORDS)]
        check_not_inputs(paths, {"the result": self._result.path})
        check_free(paths, self._overwrite)


def _save(path: Path, array: NDArray[Any], overwrite: bool) -> None:
    with atomic_path(path, overwrite) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, array)


def _contributions(result: Result, score: str, outputs: Outputs, paths: _Paths) -> Contributions:
    """Of all sequences, on the positions from the first mutated one to the last."""
    windows: list[_Arrays] = []
    for window in iter_windows(result, score, outputs):
        if not windows:
            paths.check(window.labels)
        windows.append(_arrays(window, result))
    start, end = min(w.start for w in windows), max(w.end for w in windows)
    labels = list(windows[0].hypothetical)

    def joined(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
        pairs = zip(windows, arrays, strict=True)
        return np.stack([_padded(array, window.start, start, end) for window, array in pairs])

    weighted = labels if result.has_draws else []
    return Contributions(
        joined(w.one_hot for w in windows),
        {label: joined(w.hypothetical[label] for w in windows) for label in labels},
        {label: joined(w.weighted[label] for w in windows) for label in weighted},
        sum(w.n_undefined for w in windows),
    )


@dataclass(frozen=True)
class _Arrays:
    """Of one sequence, shape=(4, positions), from position `start` on."""

    start: int
    one_hot: NDArray[np.int8]
    hypothetical: Mapping[str, NDArray[np.float32]]
    weighted: Mapping[str, NDArray[np.float32]]
    n_undefined: int

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.start + int(self.one_hot.shape[1])


def _arrays(window: Window, result: Result) -> _Arrays:
    by_output = dict(iter(window.rows.groupby("output", sort=False)))
    first = by_output[window.labels[0]]
    start, end = int(first["position"].min()), int(first["position"].max()) + 1
    one_hot = np.zeros((4, end - start), np.int8)
    one_hot[_codes(first["ref"], window, result), first["position"] - start] = 1
    plain, weighted, n_undefined = {}, {}, 0
    for label in window.labels:
        rows = by_output[label]
        effect = rows[result.effect].to_numpy(np.float64)
        grid = _grid(rows, effect, one_hot, start, window, result)
        undefined = (~np.isfinite(grid)).sum(axis=0) > 0
        n_undefined += int(undefined.sum())
        plain[label] = _centred(grid, undefined)
        sd = rows["effect_sd"].to_numpy(np.float64)
        grid = _grid(rows, effect * _weight(effect, sd), one_hot, start, window, result)
        weighted[label] = _centred(grid, undefined)
    return _Arrays(start, one_hot, plain, weighted, n_undefined)


def _codes(letters: pd.Series, window: Window, result: Result) -> NDArray[np.int64]:
    codes = letters.map(_BASES)
    if codes.isna().any():
        raise InputError(
            f"motif discovery knows the bases A, C, G and T (or U); sequence {window.name} of "
            f"{result.name} has {letters[codes.isna()].iloc[0]!r}"
        )
    return codes.to_numpy(np.int64)


def _weight(effect: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """effect**2 / (effect**2 + sd**2), 0 where both are 0."""
    power = effect**2 + sd**2
    return np.divide(effect**2, power, out=np.zeros_like(power), where=power != 0)


def _grid(
    rows: pd.DataFrame,
    effect: NDArray[np.float64],
    one_hot: NDArray[np.int8],
    start: int,
    window: Window,
    result: Result,
) -> NDArray[np.float64]:
    """Effects, shape=(4, positions): 0 of the reference's base, and of all where nothing is mutated.

    Raises
    ------
    InputError
        If an alternative is missing.
    """
    grid = np.zeros(one_hot.shape)
    filled = one_hot.astype(bool)
    position = rows["position"].to_numpy(np.int64) - start
    codes = _codes(rows["alt"], window, result)
    grid[codes, position] = effect
    filled[codes, position] = True
    count = filled.sum(axis=0)
    if odd := np.flatnonzero((count != 4) & (count != 0)).tolist():
        raise InputError(
            f"position {odd[0] + start} of sequence {window.name} of {result.name} lacks a "
            "substitution; motif discovery needs all three of each position. Give the whole result"
        )
    return grid


def _centred(grid: NDArray[np.float64], undefined: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Each base's effect minus the mean of the three others."""
    others = (grid.sum(axis=0, keepdims=True) - grid) / 3
    contributions: NDArray[np.float32] = np.where(undefined, 0.0, grid - others).astype(np.float32)
    return contributions


def _padded(array: NDArray[Any], own_start: int, start: int, end: int) -> NDArray[Any]:
    before = own_start - start
    return np.pad(array, ((0, 0), (before, end - start - before - array.shape[1])))


def _warn(found: Contributions) -> None:
    if found.n_undefined:
        warnings.warn(
            f"{found.n_undefined:,} positions (of all sequences and outputs) have an effect that is not "
            "finite; their contributions are 0",
            InputWarning,
            stacklevel=3,
        )
    unmutated = (found.one_hot == 0).all(axis=1)
    if n := int(unmutated.sum()):
        n_sequences = int((unmutated.sum(axis=1) > 0).sum())
        warnings.warn(
            f"{n:,} positions of {n_sequences:,} sequences were not mutated (N, or the sequence is "
            "shorter than others); sequence and contributions are 0 there",
            InputWarning,
            stacklevel=3,
        )
