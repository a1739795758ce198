"""`ism` from Python: any model in, and the numbers of the scorer class and of the command line out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr
from small_models import Linear, array, fixed, one_hot, with_schema
from torch import nn
from toy import Toy, make_toy

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import run
from kipoi_mcdropout.errors import InputError, InputWarning, OutputError, TargetError
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.model.load import load_kipoi_model

SUFFIXES = (".h5", ".tsv", ".tsv.gz", ".parquet")


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return fixed(Linear(2))


@pytest.fixture(scope="module")
def effects(net: nn.Module) -> mcd.Effects:
    model = mcd.Model(net, outputs=["DNase", "FOXA2"])
    options = mcd.MutationOptions(quantiles=(0.05, 0.5), keep_draws=True)
    return mcd.ism(model, one_hot(2), n_draws=4, seed=3, scores=["diff", "alt"], options=options)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


def test_the_numbers_are_those_of_the_scorer_class(net: nn.Module, effects: mcd.Effects) -> None:
    x = one_hot(2)
    scores = mcd.MCDropoutISM(
        net, 0, scores=["diff", "alt"], n_draws=4, seed=3, quantiles=(0.05, 0.5), keep_draws=True
    ).score(x)
    for score, expected in scores.items():
        got = effects.to_xarray(score=score)
        for name, values in expected.items():
            if name in ("ref_mean", "ref_var", "ref_point"):
                np.testing.assert_array_equal(got[name], values.astype(np.float32))
            else:
                turned = np.moveaxis(values, 1, 2).astype(np.float32)  # (4, 40) is (alt, position)
                np.testing.assert_array_equal(got[name], turned, err_msg=name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saved_and_read_it_is_the_same(effects: mcd.Effects, suffix: str, tmp_path: Path) -> None:
    path = effects.save(tmp_path / f"a{suffix}")
    again = mcd.read(path)
    pd.testing.assert_frame_equal(again.table(), effects.table())
    pd.testing.assert_frame_equal(again.table("FOXA2", "alt"), effects.table(["FOXA2"], "alt"))
    assert again.provenance == effects.provenance
    assert again.has_draws == (suffix == ".h5")
    with pytest.raises(OutputError, match="exists"):
        effects.save(path)
    with pytest.raises(InputError, match="score"):
        again.table(score="logit")
    with pytest.raises(TargetError):
        again.table(outputs="CTCF")


def test_draws_belong_to_the_rows(effects: mcd.Effects, tmp_path: Path) -> None:
    table, draws = effects.table("FOXA2", "diff"), effects.draws("FOXA2", "diff")
    assert draws.shape == (4, len(table))
    mean = draws.astype(float).mean(axis=0)
    np.testing.assert_allclose(mean, table["effect_mean"], rtol=0, atol=1e-7)
    from_file = mcd.read(effects.save(tmp_path / "a.h5"))
    np.testing.assert_array_equal(from_file.draws("FOXA2", "diff"), draws)
    with pytest.raises(InputError, match="score must be one of diff, alt"):
        effects.draws("FOXA2")


@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", SUFFIXES)
def test_every_format_from_every_other(
    source: str, target: str, effects: mcd.Effects, tmp_path: Path
) -> None:
    first = mcd.read(effects.save(tmp_path / f"a{source}"))
    if target == ".h5" and source != ".h5":
        with pytest.raises(InputError, match="HDF5 is made of effects in memory or in HDF5"):
            first.save(tmp_path / f"b{target}")
        return
    saved = first.save(tmp_path / f"b{target}")
    straight = effects.save(tmp_path / f"c{target}")
    assert saved.read_bytes() == straight.read_bytes() or target in (".h5", ".parquet")
    pd.testing.assert_frame_equal(mcd.read(saved).table(), effects.table())
    if target == ".parquet":
        assert pq.read_schema(saved).types == pq.read_schema(straight).types


def test_labelled_arrays(effects: mcd.Effects) -> None:
    data = effects.to_xarray(score="diff")
    assert dict(data.sizes) == {"sequence": 2, "position": 40, "alt": 4, "output": 2, "draw": 4}
    row = effects.table("FOXA2", "diff").iloc[100]
    where = {"sequence": row["sequence"], "position": row["position"], "alt": row["alt"]}
    where["output"] = "FOXA2"
    assert data["effect_sd"].sel(where).item() == row["effect_sd"]
    assert data["ref"].sel(sequence=row["sequence"], position=row["position"]).item() == row["ref"]
    assert json.loads(data.attrs["provenance"])["seed"] == 3
    with pytest.raises(InputError, match="score"):
        effects.to_xarray()


def test_without_xarray_its_name_is_said(effects: mcd.Effects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(InputError, match=r"pip install 'kipoi_mcdropout\[xarray\]'"):
        effects.to_xarray(score="diff")


def test_the_short_summary(effects: mcd.Effects) -> None:
    text = repr(effects)
    assert text.splitlines()[0] == "Effects of 240 substitutions of 2 sequences"
    assert "2: DNase, FOXA2" in text
    assert "4 draws (kept), seed 3" in text
    assert "memory" in text


def test_a_file_of_python_is_that_of_the_command_line(toy: Toy, tmp_path: Path) -> None:
    words = [str(toy.model), "--source", "dir", "--dataloader_args", json.dumps(toy.dataloader_args)]
    names = [str(tmp_path / f"a{end}") for end in (".h5", ".tsv", ".parquet")]
    command = [*words, "--n_draws", "3", "--seed", "5", "-q", "-o", *names]
    run("ism", "kipoi mcdropout ism", command)
    model = load_kipoi_model(str(toy.model), "dir")
    loader = model.default_dataloader(**toy.dataloader_args)
    x = loader.load_all()["inputs"]
    with pytest.warns(InputWarning, match="2 positions are N in the reference"):
        effects = mcd.ism(mcd.Model(model), x, n_draws=3, seed=5)
    where = ["name", "chrom", "pos", "strand"]  # arrays say nothing of these
    lines = toy.bed.read_text().splitlines()
    (tmp_path / "r.bed").write_text("".join(f"{line}\t0\t+\n" for line in lines))
    zeros = mcd.Model(model, unknown="zero")  # as the toy's dataloader has N
    windows = mcd.Regions(toy.fasta, tmp_path / "r.bed", use_strand=True)
    with pytest.warns(InputWarning, match="2 positions"):
        regions = mcd.ism(zeros, windows, n_draws=3, seed=5)
    for name in names:
        expected = mcd.read(name).table()
        pd.testing.assert_frame_equal(effects.table().drop(columns=where), expected.drop(columns=where))
        pd.testing.assert_frame_equal(regions.table(), expected)
        assert expected["chrom"].iloc[0] == "chr1"
        assert expected["pos"].iloc[0] == 1


def test_output_in_files_is_resumed_by_the_same_call(net: nn.Module, tmp_path: Path) -> None:
    model, x = mcd.Model(net, outputs=["a", "b"]), one_hot(3)
    names = [tmp_path / "a.h5", tmp_path / "a.tsv"]
    effects = mcd.ism(model, x, n_draws=2, output=names)
    assert effects.path == names[0]
    pd.testing.assert_frame_equal(effects.table(), mcd.ism(model, x, n_draws=2).table())
    pd.testing.assert_frame_equal(mcd.read(names[1]).table(), effects.table())
    again = mcd.RunOptions(resume=True)
    pd.testing.assert_frame_equal(
        mcd.ism(model, x, n_draws=2, output=names, running=again).table(), effects.table()
    )
    with pytest.raises(OutputError, match="differ in: seed"):
        mcd.ism(model, x, n_draws=2, seed=1, output=names, running=again)


def test_shards_of_python_are_merged_by_the_command_line(net: nn.Module, tmp_path: Path) -> None:
    model, x = mcd.Model(net, outputs=["a", "b"]), one_hot(3)
    for i in (1, 2):
        shard = mcd.RunOptions(shard=mcd.Shard(i, 2))
        left = mcd.ism(model, x, n_draws=2, output=tmp_path / "a.parquet", running=shard)
    with pytest.raises(InputError, match="kipoi mcdropout merge"):
        left.table()
    run("merge", "kipoi mcdropout merge", [str(tmp_path / "a.parquet.shards"), "-q"])
    pd.testing.assert_frame_equal(left.table(), mcd.ism(model, x, n_draws=2).table())


def test_what_is_recorded(net: nn.Module, tmp_path: Path) -> None:
    model = mcd.Model(net, outputs=["a", "b"], ignore=[])
    mcd.ism(model, one_hot(1), n_draws=2, output=tmp_path / "a.tsv")
    record = read_provenance(tmp_path / "a.tsv")
    assert record["model"]["name"] == "Linear"
    assert record["model"]["source"] == "python"
    assert record["command"] is None
    assert record["options"]["output_names"] == ["a", "b"]
    assert record["options"]["method"] == "mcdropout_ism"
    assert record["n_draws"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either x"),
        ({"x": one_hot(1), "fasta": "g.fa"}, "got x, fasta"),
        ({"x": one_hot(1)[0]}, "category_axis|one-hot|batch"),
        ({"x": one_hot(0)}, "one or more inputs"),
        ({"x": one_hot(1), "running": mcd.RunOptions(resume=True)}, "resume needs files"),
        ({"x": one_hot(1), "output": "a.bed"}, "must end in"),
        ({"x": one_hot(1), "n_draws": 1}, "one draw has no variance"),
        ({"fasta": "none.fa", "regions": "none.bed"}, "none.bed cannot be read as BED"),
        ({"sequences": "none.fa"}, "none.fa cannot be read as FASTA"),
        ({"sequences": "s.fa", "x": one_hot(1)}, "got x, sequences"),
    ],
)
def test_bad_calls(net: nn.Module, arguments: dict, message: str) -> None:
    with pytest.raises(mcd.McDropoutError, match=message):
        mcd.ism(net, **arguments)


def test_names_of_outputs_must_be_as_many_as_outputs(net: nn.Module) -> None:
    with pytest.raises(InputError, match="a name for each of the model's 2 outputs; got 3"):
        mcd.ism(mcd.Model(net, outputs=["a", "b", "c"]), one_hot(1), n_draws=2)
    with pytest.raises(InputError, match="single text"):
        mcd.Model(net, outputs="ab")
    with pytest.raises(InputError, match="ready already"):
        mcd.Model(mcd.Model(net))
    kipoi = with_schema(net, array("x", "y"))
    named = mcd.ism(mcd.Model(kipoi, outputs=["a", "b"]), one_hot(1), n_draws=2)
    assert list(dict.fromkeys(named.table()["output"])) == ["a", "b"]


def test_every_function_takes_a_model(net: nn.Module) -> None:
    model, x = mcd.Model(net, outputs=["DNase", "FOXA2"], input_shape=(4, 40)), one_hot(2)
    assert repr(model) == "Model(Linear, outputs DNase, FOXA2, input (4, 40))"
    assert mcd.mc_predict(model, x, n_draws=2).labels == ("DNase", "FOXA2")
    bare = mcd.ism(net, x, n_draws=2).table()
    pd.testing.assert_frame_equal(
        mcd.ism(model, x, n_draws=2).table().drop(columns="output"), bare.drop(columns="output")
    )
    found = mcd.audit(model)
    assert str(found) == repr(found) == str(mcd.audit(net, x))
    assert found.table()["name"].tolist() == ["body.2"]
    with pytest.raises(InputError, match=r"shape \(4, 40\) and \(40, 4\).*input_shape"):
        mcd.audit(net)
    with pytest.raises(InputError, match="has its settings already"):
        mcd.audit(model, ignore=["body.2"])


def test_regions_of_another_length_are_resized(net: nn.Module, tmp_path: Path) -> None:
    bases = "".join(np.random.default_rng(1).choice(list("ACGT"), 200))
    (tmp_path / "g.fa").write_text(f">1\n{bases}\n")
    (tmp_path / "r.bed").write_text("1\t90\t101\tpeak\n1\t20\t80\n")
    model = mcd.Model(net, input_shape=(4, 40))
    effects = mcd.ism(model, fasta=tmp_path / "g.fa", regions=tmp_path / "r.bed", n_draws=2)
    table = effects.table("0")
    assert table["name"].unique().tolist() == ["peak", "1:20-80"]
    assert table["chrom"].unique().tolist() == ["1"]  # a text
    first = table[table["sequence"] == 0]
    assert first["pos"].min() == 95 - 20 + 1
    assert "".join(first["ref"][::3]) == bases[75:115]
    assert (effects.to_xarray("0")["chrom"] == "1").all()
    (tmp_path / "r.bed").write_text("1\t0\t10\n1\t90\t101\n")
    with pytest.warns(InputWarning, match="padded with N: 1:0-10"):
        found = mcd.mc_predict(model, mcd.Regions(tmp_path / "g.fa", tmp_path / "r.bed"), n_draws=2)
    assert len(found.mean) == 2
    with pytest.warns(InputWarning, match="are skipped: 1:0-10"):
        found = mcd.mc_predict(
            model, mcd.Regions(tmp_path / "g.fa", tmp_path / "r.bed", edge="skip"), n_draws=2
        )
    assert len(found.mean) == 1
    with pytest.raises(InputError, match="edge must be one of"):
        mcd.Regions("g.fa", "r.bed", edge="cut")
    (tmp_path / "r.bed").write_text("chr1\t90\t101\n")
    with pytest.raises(InputError, match="has no contigs chr1; it has 1"):
        mcd.ism(model, fasta=tmp_path / "g.fa", regions=tmp_path / "r.bed", n_draws=2)
    (tmp_path / "r.bed").write_text("1\t190\t260\n1\t200\t210\n")
    with pytest.raises(
        InputError, match="region 1:190-260 lies past the end of 1, which has 200"
    ):
        mcd.ism(model, fasta=tmp_path / "g.fa", regions=tmp_path / "r.bed", n_draws=2)


def test_importing_the_package_imports_neither_torch_nor_kipoi() -> None:
    code = (
        "import sys, kipoi_mcdropout as m; assert not {'torch', 'kipoi'} & set(sys.modules); "
        "m.mr; assert not {'torch', 'kipoi'} & set(sys.modules), 'mr'; "
        "m.ism, m.Model, m.Effects, m.read, m.audit; assert 'kipoi' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there() -> None:
    for name in mcd.__all__:
        assert getattr(mcd, name) is not None, name


def test_a_result_is_a_dataset_of_xarray(effects: mcd.Effects) -> None:
    assert isinstance(effects.to_xarray(score="alt"), xr.Dataset)
