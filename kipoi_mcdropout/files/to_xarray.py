"""Tidy rows of effects as labelled arrays of xarray."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.columns import MEMBER_REFERENCE_STATISTICS, REFERENCE_STATISTICS
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.provenance import has_own_draws

if TYPE_CHECKING:
    import xarray

_SEQUENCE = ("name", "chrom", "strand")
_REFERENCE = (*REFERENCE_STATISTICS, *MEMBER_REFERENCE_STATISTICS)
_NO_VALUES = (
    "sequence", "name", "chrom", "pos", "strand", "position", "ref", "alt", "output", "score", "n_draws",
)  # fmt: skip
_DRAWS = "n_draws"
_DIMENSIONS = ("sequence", "position", "alt", "output")
_ALLELE = (
    "chrom", "pos", "id", "ref", "alt", "allele", "kind", "line", "flags", "haplotype", "n_alleles",
    "carriers", "n_carriers",
)  # fmt: skip
_KEYS = ("line", "allele", "chrom", "pos", "ref", "alt", "haplotype", "flags")


def sequences_to_xarray(
    table: pd.DataFrame,
    draws: NDArray[np.float32] | None,
    provenance: dict[str, Any],
    member_means: NDArray[np.float32] | None = None,
    members: Sequence[str] = (),
) -> xarray.Dataset:
    """Effects of substitutions: see `Effects.to_xarray`.

    Parameters
    ----------
    table : DataFrame
        Rows of one score.
    draws : numpy.ndarray, shape=(draws, rows), optional
    member_means : numpy.ndarray, shape=(members, rows), optional
    members : sequence of str
        Their names.
    """
    xr = _xarray()
    codes: dict[str, Any] = {}
    coordinates: dict[str, Any] = {}
    for name in _DIMENSIONS:
        # Outputs keep the model's order, the others are sorted.
        codes[name], labels = pd.factorize(table[name], sort=name != "output")
        coordinates[name] = (name, np.asarray(labels))
    shape = tuple(len(coordinates[name][1]) for name in _DIMENSIONS)
    cells = tuple(codes[name] for name in _DIMENSIONS)

    def spread(values: NDArray[Any], keep: tuple[int, ...], fill: Any) -> NDArray[Any]:
        array = np.full([shape[i] for i in keep], fill, values.dtype)
        array[tuple(cells[i] for i in keep)] = values
        return array

    for name in _SEQUENCE:
        if table[name].isna().all():  # sequences without a place on a genome
            continue
        coordinates[name] = ("sequence", spread(table[name].to_numpy(object), (0,), None))
    at = ("sequence", "position")
    coordinates["ref"] = (at, spread(table["ref"].to_numpy(object), (0, 1), "N"))
    if table["pos"].notna().any():
        coordinates["pos"] = (at, spread(table["pos"].to_numpy(float), (0, 1), np.nan))
    arrays: dict[str, Any] = {}
    own = has_own_draws(provenance)
    for name in table.columns:
        if name in _REFERENCE and not own:
            arrays[name] = (("sequence", "output"), spread(table[name].to_numpy(), (0, 3), np.nan))
        elif name not in _NO_VALUES or (name == _DRAWS and own):
            values = table[name].to_numpy().astype(np.float32)
            arrays[name] = (_DIMENSIONS, spread(values, (0, 1, 2, 3), np.nan))
    of_each = {"draw": ("effect_draws", draws), "member": ("effect_member_mean", member_means)}
    for axis, (name, rows) in of_each.items():
        if rows is not None:
            kept = np.full((*shape, len(rows)), np.nan, np.float32)
            kept[cells] = rows.T
            arrays[name] = ((*_DIMENSIONS, axis), kept)
            coordinates[axis] = (axis, np.arange(len(rows)) if axis == "draw" else np.asarray(members))
    dataset: xarray.Dataset = xr.Dataset(arrays, coordinates, _attributes(table, provenance))
    return dataset


def variants_to_xarray(table: pd.DataFrame, provenance: dict[str, Any]) -> xarray.Dataset:
    """Effects of alleles: see `Effects.to_xarray`; `table` has the rows of one score."""
    xr = _xarray()
    of_allele = [name for name in _ALLELE if name in table]
    output, labels = pd.factorize(table["output"])
    keys = [name for name in _KEYS if name in table]
    variant = table.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
    shape = (int(variant.max(initial=-1)) + 1, len(labels))
    first = table.iloc[np.unique(variant, return_index=True)[1]]
    coordinates: dict[str, Any] = {"output": ("output", np.asarray(labels))}
    coordinates |= {name: ("variant", first[name].to_numpy()) for name in of_allele}
    arrays: dict[str, Any] = {}
    for name in table.columns:
        if name not in (*of_allele, "output", "score") and (name != _DRAWS or has_own_draws(provenance)):
            column = table[name]
            numeric = pd.api.types.is_numeric_dtype(column)
            values = np.full(shape, np.nan if numeric else None, float if numeric else object)
            values[variant, output] = column.to_numpy()
            arrays[name] = (("variant", "output"), values)
    dataset: xarray.Dataset = xr.Dataset(arrays, coordinates, _attributes(table, provenance))
    return dataset


def _attributes(table: pd.DataFrame, provenance: dict[str, Any]) -> dict[str, Any]:
    score = str(table["score"].iloc[0]) if len(table) else ""
    return {"score": score, "n_draws": provenance["n_draws"], "provenance": json.dumps(provenance)}


def _xarray() -> Any:
    try:
        import xarray
    except ImportError as error:
        raise InputError(
            "to_xarray needs xarray, which is not installed: pip install 'kipoi_mcdropout[xarray]'"
        ) from error
    return xarray
