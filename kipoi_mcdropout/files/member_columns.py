"""The mean effects of members where they are columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.member_names import mean_columns, names_of
from kipoi_mcdropout.errors import InputError


def means_in_table(
    table: pd.DataFrame, record: Mapping[str, Any], source: str | Path, advice: str
) -> NDArray[np.float32]:
    """The columns of the members' mean effects, shape=(members, rows), in the order of the record.

    Raises
    ------
    InputError
        If there are none; `source` and `advice` stand in the message.
    """
    columns = mean_columns(names_of(record))
    if not columns or not set(columns) <= set(table):
        raise InputError(f"the mean effects of members are needed; {source} has none: {advice}")
    in_order = sorted(columns, key=columns.__getitem__)
    means: NDArray[np.float32] = table[in_order].to_numpy(np.float32).T
    return means
