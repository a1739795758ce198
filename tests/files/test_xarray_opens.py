"""The HDF5 files are read by xarray alone, with named and labelled axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small_models import Linear, fixed, one_hot

import kipoi_mcdropout as mcd


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = mcd.Model(fixed(Linear(2)), outputs=["DNase", "FOXA2"])
    options = mcd.MutationOptions(start=3, end=9, keep_draws=True)
    effects = mcd.ism(model, one_hot(2), n_draws=4, options=options)
    return effects.save(tmp_path_factory.mktemp("h5") / "a.h5")


def test_a_score_is_a_dataset(path: Path) -> None:
    with xr.open_dataset(path, engine="h5netcdf", group="scores/diff") as data:
        assert dict(data.sizes) == {
            "sequence": 2, "position": 6, "alt": 4, "output": 2, "draw": 4,
        }  # fmt: skip
        assert data["effect_sd"].dims == ("sequence", "position", "alt", "output")
        assert data["effect_draws"].dims[-1] == "draw"
        mean = data["effect_draws"].astype(float).mean("draw")
        np.testing.assert_allclose(mean, data["effect_mean"], rtol=0, atol=1e-7)


def test_the_file_is_a_tree_whose_axes_have_labels(path: Path) -> None:
    row = mcd.read(path).table("FOXA2").iloc[7]
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        effect = tree["scores/diff"]["effect_mean"].sel(
            sequence=row["sequence"], position=row["position"], alt=row["alt"], output="FOXA2"
        )
        assert effect.item() == row["effect_mean"]
        assert tree["reference"].sizes == {"sequence": 2, "position": 6}
        with pytest.raises(OSError, match="cannot be locked"):  # and not: it is damaged
            mcd.read(path)


def test_the_same_numbers_as_labelled_arrays(path: Path) -> None:
    own = mcd.read(path).to_xarray()
    with xr.open_dataset(path, engine="h5netcdf", group="scores/diff") as data:
        for name in data:
            assert own[name].dims == data[name].dims
            np.testing.assert_array_equal(own[name], data[name], err_msg=str(name))
    assert pd.Index(own["alt"].values).tolist() == list("ACGT")
