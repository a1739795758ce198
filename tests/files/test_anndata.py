"""Results as AnnData: what the package anndata reads is what the table has, and it is read back."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from variant_world import LENGTH, random_sequence, tiny_net, write_fasta, write_vcf

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError, OutputError, TargetError
from kipoi_mcdropout.files.h5ad_write import H5adTable
from kipoi_mcdropout.files.save import arrow_rows
from kipoi_mcdropout.files.table import write_all
from kipoi_mcdropout.reports import gather
from kipoi_mcdropout.vcf.write.output_paths import OutputPaths

anndata = pytest.importorskip("anndata")

# anndata 0.12.6, the last for Python 3.11 and pandas 3, sets an option that pandas has no use for.
pytestmark = pytest.mark.filterwarnings("ignore:The 'mode.chained_assignment' option is deprecated")

OUTPUTS = ["DNase/1", "FOXA2 é", "CTCF"]
SEQUENCE = random_sequence(120, 11)
# The second window overlaps the first; the third is read backwards.
BED = "c\t20\t41\tfirst\t0\t+\nc\t30\t51\tsecond\t0\t+\nc\t70\t91\tthird\t0\t-\n"


@pytest.fixture(scope="module")
def model() -> mcd.Model:
    return mcd.Model(tiny_net(), outputs=OUTPUTS, input_shape=(4, LENGTH))


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> mcd.Regions:
    folder = tmp_path_factory.mktemp("genome")
    (folder / "a.bed").write_text(BED)
    return mcd.Regions(write_fasta(folder / "g.fa", {"c": SEQUENCE}), folder / "a.bed", use_strand=True)


@pytest.fixture(scope="module")
def ism(model: mcd.Model, regions: mcd.Regions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that wrote several formats at once."""
    folder = tmp_path_factory.mktemp("ism")
    mcd.ism(
        model, regions, n_draws=3, seed=1, scores=["logit", "diff"],
        output=[folder / f"a{suffix}" for suffix in (".h5ad", ".parquet", ".h5")],
        options=mcd.MutationOptions(quantiles=(0.05,)),
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def variants(model: mcd.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a VCF, with a variant that is in it twice, one without an id, and one skipped."""
    folder = tmp_path_factory.mktemp("vcf")
    fasta = write_fasta(folder / "g.fa", {"1": SEQUENCE})
    records = [f"1 {pos} v{pos} {SEQUENCE[pos - 1]} <DEL> . . ." for pos in (30,)]
    for pos in (40, 44, 44, 60):
        alts = [base for base in "ACGT" if base != SEQUENCE[pos - 1]]
        name = "." if pos == 60 else f"v{pos}"
        records.append(f"1 {pos} {name} {SEQUENCE[pos - 1]} {','.join(alts[:2])} . . .")
    vcf = write_vcf(folder / "in.vcf", records, {"1": 120})
    for suffix in (".h5ad", ".parquet"):
        mcd.score_variants(
            model, vcf, fasta, n_draws=3, scores=["diff", "logit"], output=folder / f"a{suffix}"
        )
    return folder


def read(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        return anndata.read_h5ad(path)


def cells(data: Any, layer: str) -> dict[tuple[str, str, str], float]:
    """Each value by mutant, output and score."""
    values = data.X if layer == "effect_mean" else data.layers[layer]
    return {
        (mutant, output, score): values[i, j]
        for i, mutant in enumerate(data.obs_names)
        for j, (output, score) in enumerate(zip(data.var["output"], data.var["score"], strict=True))
    }


def check_cells(data: Any, table: pd.DataFrame, names: pd.Series) -> None:
    statistics = [c for c in table if c not in (*data.obs, "output", "score", "n_draws")]
    statistics = [c for c in statistics if table[c].notna().any()]
    assert len(statistics) > 12
    for name in statistics:
        found = cells(data, name)
        keys = zip(names, table["output"], table["score"], strict=True)
        assert len(found) == len(table)
        np.testing.assert_array_equal([found[key] for key in keys], table[name], err_msg=name)


def test_of_mutagenesis(ism: Path) -> None:
    data, table = read(ism / "a.h5ad"), pd.read_parquet(ism / "a.parquet")
    assert data.shape == (3 * 3 * LENGTH, 2 * 3)
    assert data.obs_names.is_unique
    assert data.var_names.tolist()[:4] == [f"{o} logit" for o in OUTPUTS] + [f"{OUTPUTS[0]} diff"]
    # The mutants by sequence and place, told apart from how the names were made.
    place = {
        (row.sequence, row.position, row.alt): name
        for name, row in zip(data.obs_names, data.obs.itertuples(), strict=True)
    }
    keys = zip(table["sequence"], table["position"], table["alt"], strict=True)
    check_cells(data, table, pd.Series([place[key] for key in keys]))
    assert data.X.dtype == np.float32
    assert data.obs["pos"].dtype == np.int64
    record = json.loads(data.uns["kipoi_mcdropout"])
    assert (data.uns["seed"], data.uns["n_draws"], record["seed"]) == (1, 3, 1)
    mean, sd = data.X.astype(float), data.layers["effect_sd"].astype(float)
    moving = np.isfinite(data.layers["z"]) & (data.layers["z"] != 0)
    assert moving.mean() > 0.5
    np.testing.assert_allclose(data.layers["z"][moving], (mean / sd)[moving], rtol=1e-6)


def test_names_are_those_of_a_vcf_and_unique(ism: Path) -> None:
    """1-based on the forward strand; the number of the sequence where windows overlap."""
    obs = read(ism / "a.h5ad").obs
    name, row = next(iter(obs.iterrows()))
    assert name == f"c:21:{SEQUENCE[20]}:{row['alt']}"
    overlap = obs[(obs["pos"] > 30) & (obs["pos"] <= 41)]
    assert len(overlap) == 2 * 3 * 11
    ends = overlap.index.str.extract(r" \(sequence (\d)\)$")[0].astype(int).tolist()
    assert ends == overlap["sequence"].tolist()
    others = obs.index.difference(overlap.index)
    assert len(others) == len(obs) - len(overlap)
    assert not others.str.contains("sequence").any()
    minus = obs[obs["strand"] == "-"]
    assert len(minus) == 3 * LENGTH
    assert {name.split(":")[2] for name in minus.index[:3]} == {SEQUENCE[90]}
    assert minus["ref"].iloc[0] == SEQUENCE[90].translate(str.maketrans("ACGT", "TGCA"))


def test_of_variants(variants: Path) -> None:
    data, table = read(variants / "a.h5ad"), pd.read_parquet(variants / "a.parquet")
    assert data.shape == (8, 6)
    assert data.obs_names.is_unique
    twice = [name for name in data.obs_names if name.startswith("1:44:")]
    first = data.obs.loc[twice[0]]
    assert twice[0] == f"1:44:{first['ref']}:{first['alt']} (line {first['line']}, allele 1)"
    assert set(data.obs["id"]) == {"v40", "v44", "."}
    by_line = {(row.line, row.allele): name for name, row in data.obs.iterrows()}
    names = [by_line[key] for key in zip(table["line"], table["allele"], strict=True)]
    check_cells(data, table, pd.Series(names))
    assert data.X.dtype == np.float64
    assert json.loads(data.uns["kipoi_mcdropout"])["ledger"]["scored"] == 8


def test_read_back_it_is_the_table(ism: Path, variants: Path) -> None:
    for folder, n in ((ism, 6 * 189), (variants, 6 * 8)):
        expected, got = (mcd.read(folder / f"a{suffix}") for suffix in (".parquet", ".h5ad"))
        assert got.provenance == {**expected.provenance, "date": got.provenance["date"]}
        for score in ("diff", "logit"):
            pd.testing.assert_frame_equal(got.table("CTCF", score), expected.table("CTCF", score))
        assert len(got.table()) == n
    pd.testing.assert_frame_equal(
        mcd.read(ism / "a.h5ad").table(), mcd.read(ism / "a.parquet").table()
    )


def test_to_anndata_is_the_file(model: mcd.Model, regions: mcd.Regions, ism: Path) -> None:
    expected = read(ism / "a.h5ad")
    asked = mcd.MutationOptions(quantiles=(0.05,))
    memory = mcd.ism(model, regions, n_draws=3, seed=1, scores=["logit", "diff"], options=asked)
    for effects in (memory, *(mcd.read(ism / f"a{s}") for s in (".h5", ".parquet", ".h5ad"))):
        data = effects.to_anndata()
        pd.testing.assert_index_equal(data.obs_names, expected.obs_names.astype(object))
        assert data.obs.astype(str).equals(expected.obs.astype(str))
        assert data.var.astype(str).equals(expected.var.astype(str))
        assert set(data.layers) - {None} == set(expected.layers) - {None}
        np.testing.assert_array_equal(data.X, expected.X)
        for name in expected.layers:
            np.testing.assert_array_equal(data.layers[name], expected.layers[name])
    some = memory.to_anndata([2, "FOXA2*"], "diff")
    assert some.var_names.tolist() == OUTPUTS[1:]
    np.testing.assert_array_equal(some.X, expected.X[:, 4:])


def test_a_part_chosen_with_anndata_is_a_result(ism: Path, tmp_path: Path) -> None:
    effects = mcd.read(ism / "a.h5")
    data = effects.to_anndata()
    part = data[data.obs["ref"] == "A", data.var["score"] == "diff"].copy()
    part.write_h5ad(tmp_path / "part.h5ad")
    expected = effects.table(score="diff")
    expected = expected[expected["ref"] == "A"].reset_index(drop=True)
    assert len(expected) > 20
    pd.testing.assert_frame_equal(mcd.read(tmp_path / "part.h5ad").table(), expected)


def test_texts_as_newer_anndata_writes_them(ism: Path, tmp_path: Path) -> None:
    """From 0.13 on texts are a group of values and a mask."""
    path = tmp_path / "a.h5ad"
    path.write_bytes((ism / "a.h5ad").read_bytes())
    with h5py.File(path, "a") as file:
        for name in ("obs/_index", "obs/ref/categories", "var/output"):
            texts = file[name].asstr()[:].astype(object)
            del file[name]
            group = file.create_group(name)
            group.attrs["encoding-type"] = "nullable-string-array"
            group.create_dataset("values", data=texts, dtype=h5py.string_dtype())
            group.create_dataset("mask", data=np.zeros(len(texts), bool))
    pd.testing.assert_frame_equal(mcd.read(path).table(), mcd.read(ism / "a.parquet").table())


@pytest.mark.parametrize(("n_rows", "at_once"), [(1, 40), (23, 1), (100, 1), (100, 20_000)])
def test_pieces_may_be_cut_anywhere(
    n_rows: int, at_once: int, ism: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kipoi_mcdropout.files.h5ad_write._AT_ONCE", at_once)
    rows = pq.read_table(ism / "a.parquet")
    rows = rows.filter(pc.equal(rows["sequence"], 1))
    path = tmp_path / "a.h5ad"
    table = H5adTable(path, mcd.read(ism / "a.h5").provenance)
    for first in range(0, len(rows), n_rows):
        table.write(rows.slice(first, n_rows))
    table.close()
    data, whole = read(path), read(ism / "a.h5ad")
    expected = whole[whole.obs["sequence"] == 1]
    assert data.obs["pos"].tolist() == expected.obs["pos"].tolist()
    assert data.obs["alt"].tolist() == expected.obs["alt"].tolist()
    assert data.var.equals(expected.var)
    for name in expected.layers:
        np.testing.assert_array_equal(data.layers[name], expected.layers[name])


def test_a_run_gives_a_block_at_a_time(
    model: mcd.Model, regions: mcd.Regions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a result are never together in memory."""
    seen: list[int] = []
    write = H5adTable.write

    def counted(self: H5adTable, table: pa.Table) -> None:
        seen.append(len(table))
        write(self, table)

    monkeypatch.setattr(H5adTable, "write", counted)
    monkeypatch.setattr("kipoi_mcdropout.files.effect_rows._ROWS", 30)
    mcd.ism(model, regions, n_draws=2, output=tmp_path / "a.h5ad")
    assert seen == [30] * 6 * 3 + [9] * 3 or (max(seen) == 30 and sum(seen) == 3 * 63 * 3)
    assert read(tmp_path / "a.h5ad").shape == (189, 3)


def broken(table: pd.DataFrame, what: str) -> pd.DataFrame:
    changed = {
        "a row is missing": lambda: table.drop(index=table.index[10]),
        "the last row is missing": lambda: table.iloc[:-1],
        "an output is missing at the end": lambda: table[
            (table["output"] != "CTCF") | (table["sequence"] == 0)
        ],
        "sorted by effect": lambda: table.sort_values("effect_mean"),
        "other mutants of another score": lambda: table.assign(
            position=np.where(table["score"] == "diff", table["position"] + 1, table["position"])
        ),
        "some without a place": lambda: table.assign(
            chrom=table["chrom"].where(table["sequence"] == 0), pos=table["pos"]
        ),
        "a text": lambda: table.assign(note="x"),
    }
    return changed[what]()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("a row is missing", "AnnData needs every output of every mutant"),
        ("the last row is missing", "AnnData needs every output of every mutant"),
        ("an output is missing at the end", "AnnData needs every output of every mutant"),
        ("sorted by effect", "AnnData needs"),
        ("other mutants of another score", "their column 'position' differs"),
        ("some without a place", "AnnData needs 'chrom' of all mutants or of none"),
        ("a text", "AnnData has no place for the column 'note'"),
    ],
)
def test_what_has_no_place_is_refused(what: str, message: str, ism: Path, tmp_path: Path) -> None:
    effects = mcd.read(ism / "a.parquet")
    path = tmp_path / "a.h5ad"

    def write() -> None:
        table = H5adTable(path, effects.provenance)
        try:
            table.write(arrow_rows(broken(effects.table(), what)))
        finally:
            table.close()

    with pytest.raises(InputError, match=message):
        write()


def test_rows_by_output_are_the_same_matrix(ism: Path, tmp_path: Path) -> None:
    """HDF5 with very many outputs is read some outputs at a time."""
    effects = mcd.read(ism / "a.h5")
    table = H5adTable(tmp_path / "a.h5ad", effects.provenance)
    for score in effects.scores:
        for output in OUTPUTS:
            table.write(arrow_rows(effects.table([output], score)))
    table.close()
    data, expected = read(tmp_path / "a.h5ad"), read(ism / "a.h5ad")
    assert data.var.equals(expected.var)
    np.testing.assert_array_equal(data.layers["effect_sd"], expected.layers["effect_sd"])


def test_no_rows_make_a_file_too(ism: Path, tmp_path: Path) -> None:
    effects = mcd.read(ism / "a.parquet")
    table = H5adTable(tmp_path / "a.h5ad", effects.provenance)
    table.write(arrow_rows(effects.table().iloc[:0]))
    table.close()
    assert read(tmp_path / "a.h5ad").shape == (0, 0)
    assert list(mcd.read(tmp_path / "a.h5ad").table()) == list(effects.table())


@pytest.mark.parametrize("what", ["sparse", "foreign", "cut"])
def test_what_is_no_result_is_refused(what: str, ism: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    whole = (ism / "a.h5ad").read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if what == "cut" else whole)
    if what == "sparse":
        with h5py.File(path, "a") as file:
            del file["layers/effect_sd"]
            file.create_group("layers/effect_sd")
    if what == "foreign":
        with h5py.File(path, "a") as file:
            del file["uns"]
    message = {"sparse": "'effect_sd' as a plain matrix; it is sparse", "cut": "cannot be read"}
    with pytest.raises(InputError, match=message.get(what, "not written by kipoi_mcdropout")):
        mcd.read(path).table()


@pytest.mark.parametrize("most", [0, 40_000, 100_000])
def test_a_full_disk_is_said(
    most: int, ism: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the error of the system; HDF5 can go on and close, else the process dies by a signal."""
    table = H5adTable(tmp_path / "a.h5ad", mcd.read(ism / "a.h5").provenance)
    file = FullDisk(table._raw._file, most)
    monkeypatch.setattr(table._raw, "_file", file)
    monkeypatch.setattr("kipoi_mcdropout.files.h5ad_write._AT_ONCE", 50)
    rows = pq.read_table(ism / "a.parquet")

    def write() -> None:
        for first in range(0, len(rows), 50):
            table.write(rows.slice(first, 50))
        table.close()

    with pytest.raises(OSError, match="No space left on device"):
        write()
    assert file.n_refused == 1
    with contextlib.suppress(OSError):
        table.close()


class FullDisk:
    """A file on a disk that takes some bytes and no more."""

    def __init__(self, file: Any, most: int) -> None:
        self._file, self._left, self.n_refused = file, most, 0

    def write(self, data: Any) -> int:
        self._left -= len(data)
        if self._left < 0:
            self.n_refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_draws_of_each_mutant_and_the_precision_are_kept(ism: Path, tmp_path: Path) -> None:
    """Under --until mutants have numbers of draws of their own; a bfloat16 model has an `output_eps`."""
    effects = mcd.read(ism / "a.parquet")
    expected = effects.table().assign(output_eps=0.0078125)
    expected["n_draws"] = np.where(expected["ref"] == "A", 2, 3)
    record = {**effects.provenance, "options": {**effects.provenance["options"], "until": "sign"}}
    table = H5adTable(tmp_path / "a.h5ad", record)
    table.write(arrow_rows(expected))
    table.close()
    data = read(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(data.layers["n_draws"][:, 0] == 2, data.obs["ref"] == "A")
    assert set(data.var["output_eps"]) == {0.0078125}
    pd.testing.assert_frame_equal(mcd.read(tmp_path / "a.h5ad").table(), expected)


def test_an_error_on_the_way_is_the_one_that_is_said(ism: Path, tmp_path: Path) -> None:
    """Not that of the file, which lacks mutants then."""
    effects = mcd.read(ism / "a.parquet")
    with pytest.raises(TargetError, match="CTX"):
        effects.to_anndata("CTX")

    def pieces() -> Iterator[pa.Table]:
        yield arrow_rows(effects.table().iloc[:2])
        raise InputError("the source is damaged")

    with pytest.raises(InputError, match="the source is damaged"):
        write_all(H5adTable(tmp_path / "a.h5ad", effects.provenance), pieces())


def test_the_place_of_a_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a table is given with -t"):
        OutputPaths.check("in.vcf", tmp_path / "a.h5ad", None, None, False, False)


def test_only_effects_are_annotated_data(model: mcd.Model, tmp_path: Path) -> None:
    prediction = mcd.mc_predict(model, np.zeros((2, 4, LENGTH), np.float32), n_draws=2)
    with pytest.raises(OutputError, match=r"\.tsv\.gz, \.parquet, \.pq, which sets"):
        prediction.save(tmp_path / "a.h5ad")


def test_without_anndata_its_name_is_said(
    ism: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file can be written and read without it."""
    monkeypatch.setitem(sys.modules, "anndata", None)
    effects = mcd.read(ism / "a.h5")
    with pytest.raises(InputError, match=r"pip install 'kipoi_mcdropout\[anndata\]'"):
        effects.to_anndata()
    paths = [effects.save(tmp_path / name) for name in ("a.h5ad", "b.h5ad")]
    pd.testing.assert_frame_equal(mcd.read(paths[0]).table(), effects.table())
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_report_takes_it(variants: Path) -> None:
    shown, expected = (gather([variants / f"a{suffix}"]) for suffix in (".h5ad", ".parquet"))
    assert shown.effects is not None
    assert expected.effects is not None
    assert shown.kind == "variants"
    assert shown.effects.kinds == expected.effects.kinds
    pd.testing.assert_frame_equal(shown.effects.outputs, expected.effects.outputs)
