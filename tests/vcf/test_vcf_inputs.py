"""A VCF and regions of a genome by models of every kind of input: each is as its one-hot twin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from variant_world import LENGTH, random_sequence, tiny_net, write_fasta, write_vcf

from kipoi_mcdropout import Model, RunOptions, VariantOptions, VcfOptions, audit, ism, score_variants
from kipoi_mcdropout.errors import InputError

GENOME = random_sequence(50, 5) + "N" + random_sequence(60, 6)
TEXT = "A=7,C=8,G=9,T=10,N=11,prefix=0+2,suffix=1"


class Twin(nn.Module):
    """TinyNet over what `convert` makes of its input: one-hot, shape=(n, 4, length)."""

    def __init__(self, convert: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.convert, self.net = convert, tiny_net()

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.net(self.convert(input_ids))


def from_tokens(ids: Tensor) -> Tensor:
    """Zeros where the tokens around a sequence are not those that are asked for."""
    assert ids.dtype == torch.int64
    table = torch.cat([torch.zeros(7, 4), torch.eye(4), torch.full((1, 4), 0.25)])
    around = (ids[:, 0] == 0) & (ids[:, 1] == 2) & (ids[:, -1] == 1)
    return table[ids[:, 2:-1]].transpose(1, 2) * around[:, None, None]


def with_n(x: Tensor) -> Tensor:
    """Five channels A, C, G, T, N: N is a quarter of each."""
    return x[:, :4] + 0.25 * x[:, 4:]


KINDS: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, Any]]] = {
    "tokens": (from_tokens, {"vocabulary": TEXT, "length": LENGTH}),
    "tokens by shape": (from_tokens, {"vocabulary": TEXT, "input_shape": (LENGTH + 3,)}),
    "tokens by name": (from_tokens, {"vocabulary": TEXT, "length": LENGTH, "model_input": "input_ids"}),
    "RNA tokens": (from_tokens, {"vocabulary": TEXT.replace("T", "U"), "length": LENGTH}),
    "ACGTN, found out": (with_n, {"alphabet": "ACGTN"}),
    "ACGTN": (with_n, {"alphabet": "ACGTN", "input_shape": (5, LENGTH)}),
    "NTGCA": (lambda x: with_n(x.flip(1)), {"alphabet": "NTGCA", "length": LENGTH, "category_axis": 0}),
    "ACGUN": (with_n, {"alphabet": "ACGUN", "input_shape": (5, LENGTH)}),
    "ACGU": (lambda x: x, {"alphabet": "ACGU", "input_shape": (4, LENGTH)}),
    "(L, 4)": (lambda x: x.transpose(1, 2), {"input_shape": (LENGTH, 4)}),
    "(L, 5)": (lambda x: with_n(x.transpose(1, 2)), {"alphabet": "ACGTN", "input_shape": (LENGTH, 5)}),
    "(4, 1, L)": (lambda x: x[:, :, 0], {"input_shape": (4, 1, LENGTH)}),
    "(1, 4, L)": (lambda x: x[:, 0], {"input_shape": (1, 4, LENGTH)}),
    "any length": (lambda x: x, {"input_shape": (4, None), "length": LENGTH}),
}
COLUMNS = ["ref_mean", "alt_mean", "effect_mean", "effect_sd", "ref_alt_cov", "effect_point"]


def twin(kind: str, **more: Any) -> Model:
    convert, how = KINDS[kind]
    return Model(Twin(convert), **how, **more)


PLAIN = {"input_shape": (4, LENGTH)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """SNVs, an insertion and a deletion; windows with an N, and past the end of the contig."""
    folder = tmp_path_factory.mktemp("world")
    records = []
    for pos in (3, 20, 33, 48, 60, 80, 108):
        ref = GENOME[pos - 1]
        others = [base for base in "ACGT" if base != ref]
        records.append(f"c {pos} . {ref} {','.join(others)} . . .")
    records.append(f"c 90 . {GENOME[89]} {GENOME[89]}TAC . . .")
    records.append(f"c 95 . {GENOME[94:98]} {GENOME[94]} . . .")
    bed = folder / "r.bed"
    bed.write_text("c\t12\t13\tone\nc\t80\t90\ttwo\n")
    return {
        "vcf": write_vcf(folder / "in.vcf", records, {"c": len(GENOME)}),
        "fasta": write_fasta(folder / "g.fa", {"c": GENOME}), "bed": bed,
    }  # fmt: skip


def score(model: Model, world: dict[str, Path], **options: Any) -> pd.DataFrame:
    running = RunOptions(engine=options.pop("engine", "full"))
    return score_variants(
        model,
        world["vcf"],
        world["fasta"],
        n_draws=3,
        options=VariantOptions(**options),
        running=running,
    ).table()


@pytest.mark.parametrize("options", [{}, {"rc": True, "shifts": (0, 2)}])
@pytest.mark.parametrize("kind", KINDS)
def test_a_vcf_is_scored_as_by_the_one_hot_twin(
    world: dict[str, Path], kind: str, options: dict[str, Any]
) -> None:
    plain = score(Model(tiny_net(), **PLAIN), world, **options)
    found = score(twin(kind), world, **options)
    assert len(plain) == 3 * (7 * 3 + 2)
    assert plain["effect_mean"].abs().min() > 0
    np.testing.assert_allclose(found[COLUMNS], plain[COLUMNS], rtol=0, atol=1e-7)
    assert found[["pos", "ref", "alt"]].equals(plain[["pos", "ref", "alt"]])


@pytest.mark.parametrize("kind", ["tokens", "NTGCA", "ACGUN", "(1, 4, L)"])
def test_the_incremental_engine_gives_the_same(world: dict[str, Path], kind: str) -> None:
    options = {"rc": True, "engine": "incremental"}
    plain = score(Model(tiny_net(), **PLAIN), world, rc=True)
    np.testing.assert_allclose(score(twin(kind), world, **options)[COLUMNS], plain[COLUMNS], atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_regions_of_a_genome_are_mutated_as_by_the_one_hot_twin(
    world: dict[str, Path], kind: str
) -> None:
    source = {"fasta": world["fasta"], "regions": world["bed"]}
    plain = ism(Model(tiny_net(), **PLAIN), **source, n_draws=3).table()
    found = ism(twin(kind), **source, n_draws=3).table()
    assert len(plain) == 2 * LENGTH * 3 * 3
    order = ["name", "position", "alt", "output"]
    if "U" in str(KINDS[kind][1]):
        assert set(found["alt"]) == set("ACGU") == set(found["ref"])
        found = found.assign(alt=found["alt"].str.replace("U", "T"))
    plain, found = (x.sort_values(order).reset_index(drop=True) for x in (plain, found))
    assert found[[*order, "pos"]].equals(plain[[*order, "pos"]])
    np.testing.assert_allclose(found[COLUMNS], plain[COLUMNS], rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_is_what_the_model_takes(kind: str) -> None:
    model = twin(kind)
    x = model.example()
    arrays = x.values() if isinstance(x, dict) else [x]
    assert all(len(array) == 1 for array in arrays)
    assert [row.locked for row in audit(model).rows] == ["locked"]
    no_base = {row for row in ism(model, x, n_draws=2).table()["ref"]} - set("ACGTU")
    assert not no_base


def test_a_name_that_is_no_keyword_of_the_network_is_no_key() -> None:
    assert isinstance(twin("ACGTN", model_input="seq").example(), np.ndarray)
    assert set(twin("ACGTN", model_input="input_ids").example()) == {"input_ids"}


def test_ism_of_an_array_leaves_n_out() -> None:
    model = twin("NTGCA")
    sequences = model.sequences
    window = np.frombuffer(GENOME[40 : 40 + LENGTH].encode(), np.uint8)
    x = sequences.inputs(sequences.table[window][None])
    with pytest.warns(match="1 positions are N in the reference and are not mutated: 10"):
        table = ism(model, x, n_draws=2).table()
    assert set(table["alt"]) == set("ACGT")
    assert 10 not in set(table["position"])


NO_N = TEXT.replace("N=11,", "")


def test_alleles_whose_windows_have_no_token_are_skipped_by_name(
    world: dict[str, Path], tmp_path: Path
) -> None:
    skipped = tmp_path / "skipped.tsv"
    model = Model(Twin(from_tokens), vocabulary=NO_N, length=LENGTH)
    found = score_variants(
        model, world["vcf"], world["fasta"], n_draws=3, vcf_options=VcfOptions(skipped=skipped),
        output=tmp_path / "out.parquet",
    )  # fmt: skip
    table, left_out = found.table(), pd.read_csv(skipped, sep="\t")
    assert set(left_out["reason"]) == {"no_token"}
    assert sorted(set(left_out["pos"])) == [3, 48, 60, 108]
    assert left_out["detail"].str.contains("a letter other than A, C, G, T in the window").sum() == 6
    assert left_out["detail"].str.contains("an end of the contig in the window").sum() == 6
    assert len(table) / 3 + len(left_out) == 7 * 3 + 2
    plain = score(Model(tiny_net(), **PLAIN), world)
    plain = plain[plain["pos"].isin(table["pos"])]
    np.testing.assert_allclose(table[COLUMNS], plain[COLUMNS], atol=1e-6)
    assert found.provenance["options"]["unknown"] == "none"
    assert found.provenance["options"]["vocabulary"] == NO_N


def test_a_region_with_n_is_refused_where_n_has_no_token(world: dict[str, Path], tmp_path: Path) -> None:
    bed = tmp_path / "r.bed"
    bed.write_text("c\t50\t51\tn\n")
    model = Model(Twin(from_tokens), vocabulary=NO_N, length=LENGTH)
    with pytest.raises(
        InputError, match=r"has no base at position 10.*no token of N. Add one, such as N=11"
    ):
        ism(model, fasta=world["fasta"], regions=bed, n_draws=2)


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ({"input_shape": (5, LENGTH)}, "5 places and the alphabet ACGT 4 letters.*alphabet=ACGTN"),
        ({"input_shape": (4, LENGTH), "alphabet": "ACGTN"}, "must have 5 places, one for each letter"),
        ({"input_shape": (4, LENGTH), "alphabet": "ACGX"}, "A, C, G and T .or U. in some order"),
        (
            {"input_shape": (5, LENGTH), "alphabet": "ACGTN", "unknown": "zero"},
            "N has a channel of its own",
        ),
        (
            {"input_shape": (4, 5), "alphabet": "ACGTN", "category_axis": 0},
            "axis of size 5, as the alphabet",
        ),
    ],
)
def test_what_cannot_be_told_is_asked_for(how: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        _ = Model(tiny_net(), **how).sequences


def test_a_schema_of_tokens_asks_for_the_vocabulary() -> None:
    from types import SimpleNamespace

    schema = SimpleNamespace(inputs=SimpleNamespace(shape=(LENGTH + 3,), name="ids"), targets=None)
    model = SimpleNamespace(model=Twin(from_tokens), schema=schema)
    with pytest.raises(
        InputError, match=r"shape \(24,\): if it takes tokens, one a base, give vocabulary"
    ):
        _ = Model(model).sequences
    assert Model(model, vocabulary=TEXT).sequences.length == LENGTH
    assert Model(model, vocabulary=TEXT).example().dtype == np.int64
