"""Predictions in memory, with how they were made; written to files as the command writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd

from kipoi_mcdropout.files import prediction_files
from kipoi_mcdropout.files.column_types import to_frame
from kipoi_mcdropout.files.prediction_rows import prediction_tables
from kipoi_mcdropout.files.record import PredictionRecord
from kipoi_mcdropout.model.predict import PredictionSummary


@dataclass(frozen=True)
class Predictions(PredictionSummary):
    """Predictions of a model over the draws of its dropout masks; `mc_predict` returns it.

    Attributes
    ----------
    labels : tuple of str
        Names of the outputs.
    n_draws : int
    mean, var : numpy.ndarray of float64, shape=(n, outputs)
        Over the draws; `var` has ddof=1.
    mcse : numpy.ndarray of float64, shape=(n, outputs)
        Monte Carlo error of `mean`, sd / sqrt(n_draws). It shrinks with more draws.
    point : numpy.ndarray of float64, shape=(n, outputs)
        The prediction with dropout off.
    n_nonfinite : numpy.ndarray of int64, shape=(n, outputs)
        Number of draws in which the model gave NaN or infinity; with n_draws = 0, whether the prediction
        with dropout off is one of these. The statistics are NaN there, and so is a `point` that is not
        finite.
    draws : numpy.ndarray of float32, shape=(draws, n, outputs), or None
        Every draw, if it was kept.
    var_within, var_between : numpy.ndarray of float64, shape=(n, outputs), or None
        Where the model has several members: the parts of the variance within a member (its masks) and
        between members.
    provenance : dict
        How they were made: versions, model, seed, draws, dropout sites, options. Files have the same.
    """

    provenance: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, summary: PredictionSummary, provenance: dict[str, Any]) -> Predictions:
        """The predictions of a run, and its record as plain values."""
        own = {item.name: getattr(summary, item.name) for item in fields(PredictionSummary)}
        return cls(**own, provenance=json.loads(json.dumps(provenance)))

    def table(self) -> pd.DataFrame:
        """A row per input and output, in their order.

        Columns: `sequence` (number of the input, from 0), `name`, `chrom`, `start`, `end`, `strand` (not
        known here), `output`, `mean`, `var`, `sd`, `mcse`, `point` (float32), `n_nonfinite`, `n_draws`.
        """
        return pd.concat([to_frame(piece) for piece in prediction_tables(self._record())])

    def save(self, path: str | Path | Sequence[str | Path], overwrite: bool = False) -> None:
        """Write the predictions to files, as `kipoi mcdropout predict` writes them.

        Parameters
        ----------
        path : str, Path, or sequence of them
            .h5, .tsv, .tsv.gz or .parquet. Only HDF5 holds the draws.
        overwrite : bool
            Replace files that exist.

        Raises
        ------
        OutputError
            If a file cannot be made.
        """
        paths = [path] if isinstance(path, (str, Path)) else list(path)
        with prediction_files(paths, self.provenance, overwrite) as files:
            files.write(self._record())

    def _record(self) -> PredictionRecord:
        return PredictionRecord(0, self, [{} for _ in range(len(self.mean))])
