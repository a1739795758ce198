"""Checks of the arrays that make `Instruments`; each raises InputError by name."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError

DRAWS_RTOL = 1e-4  # how far the mean of draws may be from beta, relative to the largest draw


def zero_variance(beta: FloatArray, se: FloatArray, rtol: float) -> NDArray[np.bool_]:
    """Rows whose se is rounding noise: at most `rtol` of the largest |beta| or se."""
    is_zero: NDArray[np.bool_] = se <= rtol * max(np.abs(beta).max(), se.max())
    return is_zero


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A copy that cannot be written to."""
    array = array.copy()
    array.flags.writeable = False
    return array


def check_row(values: Any, name: str, n: int) -> NDArray[Any]:
    """One value per instrument, shape=(n,)."""
    array = np.asarray(values)
    if array.shape != (n,):
        raise InputError(
            f"{name} must have one value per instrument, shape ({n},); got shape {array.shape}."
        )
    return array


def check_float_row(values: Any, name: str, snp: NDArray[np.str_]) -> FloatArray:
    """Finite float64 values, one per instrument, that cannot be written to."""
    array = check_row(values, name, len(snp)).astype(np.float64)
    bad = ~np.isfinite(array)
    if bad.any():
        raise InputError(
            f"{name} must be finite; {bad.sum()} of {len(snp)} rows are not, first: "
            f"{_first(snp, bad)}. "
            "Remove these rows, or find out why the model gave no number there."
        )
    return frozen(array)


def _first(snp: NDArray[np.str_], mask: NDArray[np.bool_], most: int = 3) -> str:
    return ", ".join(snp[mask][:most].tolist())


def check_names(snp: NDArray[np.str_], exposure: str, outcome: str) -> None:
    """Unique SNP names, at least one; exposure and outcome not the same."""
    if snp.ndim != 1 or len(snp) == 0:
        raise InputError(f"at least one instrument is required; got an array of shape {snp.shape}.")
    repeated = [name for name, count in Counter(snp.tolist()).items() if count > 1]
    if repeated:
        raise InputError(
            f"SNP names must be unique; {len(repeated)} occur more than once, first: "
            f"{', '.join(repeated[:3])}. Add the name of the sequence to each SNP name, or remove the "
            "repeats."
        )
    if exposure == outcome:
        raise InputError(
            f"exposure and outcome must be different outputs; both are {exposure!r}. The regression of "
            "an output on itself always has slope 1."
        )


def check_not_negative(se: FloatArray, name: str, snp: NDArray[np.str_]) -> None:
    """No negative standard error."""
    if (se < 0).any():
        raise InputError(f"{name} must not be negative; it is in {_first(snp, se < 0)}.")


def check_draws(values: Any, side: str, n: int) -> FloatArray:
    """Finite draws, shape=(n_draws >= 2, n), float64."""
    draws = np.array(values, dtype=np.float64)
    if draws.ndim != 2 or draws.shape[1] != n or draws.shape[0] < 2:
        raise InputError(
            f"draws of the {side} must have shape (n_draws >= 2, {n} instruments); got {draws.shape}."
        )
    if not np.isfinite(draws).all():
        raise InputError(f"draws of the {side} must be finite; {(~np.isfinite(draws)).sum()} are not.")
    return draws


def check_draws_mean(draws: FloatArray, beta: FloatArray, side: str) -> None:
    """Draws whose mean is beta: those of this table."""
    off = np.abs(draws.mean(axis=0) - beta).max()
    if off > DRAWS_RTOL * np.abs(draws).max():
        raise InputError(
            f"the draws of the {side} do not belong to its effects: their mean is off by up to "
            f"{off:.3g}. "
            "Pass draws with columns in the order of the instruments, of the same run and score."
        )


def check_correlation(values: Any, n: int) -> FloatArray:
    """A finite symmetric matrix, shape=(n, n), with ones on the diagonal."""
    matrix = np.array(values, dtype=np.float64)
    if matrix.shape != (n, n):
        raise InputError(
            f"a correlation of shape {(n, n)} is required, rows and columns in the order of the "
            f"instruments; got {matrix.shape}."
        )
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, atol=1e-8):
        raise InputError("the correlation matrix must be finite and symmetric.")
    if not np.allclose(np.diag(matrix), 1.0, atol=1e-8):
        raise InputError(
            "the correlation matrix must have ones on its diagonal; pass a correlation, not a "
            "covariance."
        )
    return matrix


def check_se_type(se_type: str | None, n_draws: int | None) -> None:
    """A known kind of standard error, with the number of draws that it needs."""
    if se_type not in (None, "sd", "mcse"):
        raise InputError(f"se_type must be 'sd', 'mcse' or None; got {se_type!r}.")
    if n_draws is not None and n_draws < 2:
        raise InputError(f"at least 2 draws are required for a standard error; got {n_draws}.")
    if se_type == "mcse" and n_draws is None:
        raise InputError("se_type 'mcse' requires n_draws, to compute the spread over draws from it.")
