"""`score_variants` from Python: the rows of the command's table, in memory or in files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from variant_call import score_variants as with_all_options
from variant_world import LENGTH, random_sequence, tiny_net, write_fasta, write_vcf

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.write.ledger import SkippedAllelesError

SEQUENCE = random_sequence(120, 11)
NAMES = ["DNase", "FOXA2", "CTCF"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("variants")
    lines = []
    for pos in range(20, 100, 4):
        ref = SEQUENCE[pos - 1]
        alt = "ACGT"[("ACGT".index(ref) + 1) % 4]
        lines.append(f"1 {pos} v{pos} {ref} {'<DEL>' if pos == 40 else alt} . . .")
    return {
        "vcf": write_vcf(folder / "in.vcf.gz", lines, {"1": 120}),
        "fasta": write_fasta(folder / "g.fa", {"1": SEQUENCE}),
    }


@pytest.fixture(scope="module")
def model() -> mcd.Model:
    return mcd.Model(tiny_net(), outputs=NAMES, input_shape=(4, LENGTH))


def test_in_memory_it_is_what_the_table_has(
    model: mcd.Model, world: dict[str, Path], tmp_path: Path
) -> None:
    options = mcd.VariantOptions(rc=True, quantiles=(0.5,))
    effects = mcd.score_variants(
        model, **world, n_draws=3, seed=2, scores=["diff", "logit"], options=options
    )
    path = tmp_path / "t.parquet"
    with_all_options(
        model, **world, table=path, n_draws=3, seed=2, scores=["diff", "logit"], rc=True,
        quantiles=(0.5,),
    )  # fmt: skip
    pd.testing.assert_frame_equal(effects.table(), mcd.read(path).table())
    assert effects.table()["chrom"].unique().tolist() == ["1"]
    assert effects.is_variants
    assert effects.path is None
    assert not effects.has_draws
    assert effects.provenance["ledger"]["scored"] == 19
    assert "19 alleles of a VCF" in repr(effects)
    assert "1 skipped" in repr(effects)
    assert set(effects.table("FOXA2", "logit")["output"]) == {"FOXA2"}
    data = effects.to_xarray(score="diff")
    assert dict(data.sizes) == {"variant": 19, "output": 3}
    row = effects.table("CTCF", "diff").iloc[5]
    there = data.isel(variant=5).sel(output="CTCF")
    assert there["effect_sd"].item() == row["effect_sd"]
    assert there["pos"].item() == row["pos"]
    with pytest.raises(InputError, match="no draws"):
        effects.draws(score="diff")


@pytest.mark.parametrize("suffix", [".parquet", ".tsv", ".tsv.gz"])
def test_saved_and_read_it_is_the_same(
    model: mcd.Model, world: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    effects = mcd.score_variants(model, **world, n_draws=3)
    path = tmp_path / f"own{suffix}"
    straight = mcd.score_variants(model, **world, n_draws=3, output=path)
    assert straight.path == path
    saved = effects.save(tmp_path / f"saved{suffix}")
    pd.testing.assert_frame_equal(mcd.read(saved).table(), straight.table())
    if suffix == ".parquet":
        assert pq.read_schema(saved).types == pq.read_schema(path).types
    with pytest.raises(InputError, match="HDF5 is made of"):
        effects.save(tmp_path / "a.h5")


def test_outputs_are_told_by_their_names(
    model: mcd.Model, world: dict[str, Path], tmp_path: Path
) -> None:
    both = [tmp_path / "a.vcf.gz", tmp_path / "a.tsv"]
    effects = mcd.score_variants(
        model, **world, n_draws=2, targets="FOXA2", output=both,
        vcf_options=mcd.VcfOptions(skipped=tmp_path / "skipped.tsv", info_prefix="X"),
    )  # fmt: skip
    assert all(path.is_file() for path in both)
    assert len(pd.read_table(tmp_path / "skipped.tsv")) == 1
    assert effects.path == both[1]
    alone = mcd.score_variants(model, **world, n_draws=2, output=tmp_path / "b.vcf")
    with pytest.raises(InputError, match="written to a VCF or to standard output"):
        alone.table()
    with pytest.raises(InputError, match="or one of each"):
        mcd.score_variants(model, **world, output=["a.tsv", "b.tsv"])
    with pytest.raises(InputError, match="resume needs files"):
        mcd.score_variants(model, **world, running=mcd.RunOptions(resume=True))
    with pytest.raises(SkippedAllelesError, match="strict"):
        mcd.score_variants(model, **world, n_draws=2, vcf_options=mcd.VcfOptions(strict=True))


def test_the_shape_of_a_bare_network_is_found(model: mcd.Model, world: dict[str, Path]) -> None:
    said = mcd.score_variants(model, **world, n_draws=2).table().drop(columns="output")
    found = mcd.score_variants(tiny_net(), **world, n_draws=2).table().drop(columns="output")
    pd.testing.assert_frame_equal(found, said, check_exact=True)
