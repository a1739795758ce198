"""Effects as an AnnData object."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.h5ad_layout import COLUMNS
from kipoi_mcdropout.files.h5ad_write import H5adTable
from kipoi_mcdropout.files.scratch import scratch_folder
from kipoi_mcdropout.files.table import write_all

if TYPE_CHECKING:
    import anndata


def to_anndata(pieces: Iterable[pa.Table], provenance: dict[str, Any]) -> anndata.AnnData:
    """See `Effects.to_anndata`.

    The rows go through a temporary file, so that memory never holds both them and the object.

    Parameters
    ----------
    pieces : iterable of pyarrow.Table
        The rows, as `H5adTable` takes them.
    provenance : dict
    """
    reader = _anndata()
    with scratch_folder() as folder:
        path = folder / "effects.h5ad"
        write_all(H5adTable(path, provenance), pieces)
        data: anndata.AnnData = reader.read_h5ad(path)
    for frame in (data.obs, data.var):
        _plain_texts(frame)
    data.uns[COLUMNS] = np.asarray(data.uns[COLUMNS], object)
    return data


def _plain_texts(frame: pd.DataFrame) -> None:
    """Make texts Python objects: anndata up to 0.12.6 cannot write the strings of pandas 3."""
    frame.index = frame.index.astype(object)
    for name in frame:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            frame[name] = column.astype(pd.CategoricalDtype(column.cat.categories.astype(object)))
        elif not pd.api.types.is_numeric_dtype(column):
            frame[name] = column.astype(object)


def _anndata() -> Any:
    try:
        import anndata
    except ImportError as error:
        raise InputError(
            "to_anndata needs anndata, which is not installed: pip install 'kipoi_mcdropout[anndata]'. "
            "A file .h5ad can be written without it"
        ) from error
    return anndata
