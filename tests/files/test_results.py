"""Results read back are what was written, whatever the format."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from toy import make_toy

from kipoi_mcdropout.cli import interpret_ism
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.read import read_draws, read_effects, read_provenance


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    toy = make_toy(folder / "toy")
    words = [str(toy.model), "--source", "dir", "--dataloader_args", json.dumps(toy.dataloader_args)]
    words += ["--model_input", "seq", "--n_draws", "4", "-s", "diff", "logit", "--keep_draws", "-o"]
    words += [str(folder / f"r.{suffix}") for suffix in ("h5", "tsv", "tsv.gz", "parquet")]
    interpret_ism("ism", words)
    return folder


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    keys = ["sequence", "score", "position", "alt", "output"]
    return table.sort_values(keys, ignore_index=True)


@pytest.mark.parametrize("suffix", ["h5", "tsv", "tsv.gz"])
def test_every_format_reads_back_the_same_table(results: Path, suffix: str) -> None:
    expected = _sorted(read_effects(results / "r.parquet"))
    table = _sorted(read_effects(results / f"r.{suffix}"))[list(expected)]
    assert len(table) == (3 * 24 - 2) * 3 * 3 * 2
    for column in expected:
        if expected[column].dtype.kind == "f":
            np.testing.assert_allclose(table[column], expected[column], rtol=3e-7)
        else:
            assert (table[column] == expected[column]).all(), column


@pytest.mark.parametrize("suffix", ["h5", "parquet"])
def test_outputs_and_score_are_selected(results: Path, suffix: str) -> None:
    table = read_effects(results / f"r.{suffix}", ["FOXA*"], "logit")
    assert set(table.output) == {"FOXA1", "FOXA2"}
    assert set(table.score) == {"logit"}


def test_draws_are_in_the_order_of_the_rows(results: Path) -> None:
    table = read_effects(results / "r.h5", ["FOXA*"], "logit")
    draws = read_draws(results / "r.h5", ["FOXA*"], "logit")
    assert draws.shape == (4, len(table))
    np.testing.assert_allclose(draws.mean(0), table.effect_mean, atol=1e-6)
    np.testing.assert_allclose(draws.std(0, ddof=1), table.effect_sd, atol=1e-6)


def test_provenance_is_the_same_in_all(results: Path) -> None:
    records = [read_provenance(results / f"r.{s}") for s in ("h5", "tsv", "tsv.gz", "parquet")]
    assert all(record == records[0] for record in records)
    assert records[0]["n_draws"] == 4


def test_other_files_and_versions_are_refused(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file.attrs["format"], file.attrs["format_version"] = "kipoi_mcdropout ism", 99
    text = tmp_path / "other.tsv"
    text.write_text("a\tb\n1\t2\n")
    junk = tmp_path / "junk.h5"
    junk.write_text("no")
    for path, message in (
        (other, "of version 1; got 'kipoi_mcdropout ism', version 99"),
        (text, "no provenance"),
        (junk, "cannot be read as HDF5"),
        (tmp_path / "none.h5", "there is no result file"),
    ):
        with pytest.raises(InputError, match=message):
            read_effects(path)
    with pytest.raises(InputError, match="score 'ref' is not in"):
        read_effects(results / "r.h5", score="ref")
    with pytest.raises(InputError, match="only HDF5"):
        read_draws(results / "r.tsv")
