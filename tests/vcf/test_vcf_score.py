"""The numbers, against the public oracle and numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from variant_call import score_variants
from variant_world import LENGTH, TinyNet, one_hot, random_sequence, tiny_net, write_fasta, write_vcf

from kipoi_mcdropout.dropout.locked_model import POINT, locked_forward
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.errors import InputError, NonFiniteOutputError

SEQUENCE = random_sequence(200, 11)
N_DRAWS = 7


def base_at(pos: int, n: int = 1) -> str:
    return SEQUENCE[pos - 1 : pos - 1 + n]


def other(base: str) -> str:
    return "ACGT"[("ACGT".index(base) + 1) % 4]


def records() -> list[str]:
    """One of each kind, two alleles in one record, and one at each end of the contig."""
    a, b = base_at(60), base_at(61)
    return [
        f"c 60 snv {a} {other(a)} . . .",
        f"c 60 mnv {a}{b} {other(a)}{other(b)} . . .",
        f"c 80 ins {base_at(80)} {base_at(80)}GATTACA . . .",
        f"c 90 del {base_at(90, 4)} {base_at(90)} . . .",
        f"c 100 delins {base_at(100, 3)} {other(base_at(100))}A . . .",
        f"c 120 two {base_at(120, 2)} {base_at(120)},{other(base_at(120))}{base_at(121)} . . .",
        f"c 2 begin {base_at(2)} {other(base_at(2))} . . .",
        f"c 199 end {base_at(199)} {base_at(199)}TT . . .",
    ]


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    return {
        "vcf": write_vcf(tmp_path / "in.vcf", records(), {"c": 200}),
        "fasta": write_fasta(tmp_path / "g.fa", {"c": SEQUENCE}),
        "table": tmp_path / "out.parquet",
    }


def score(model: torch.nn.Module, world: dict[str, Any], **options: Any) -> pd.DataFrame:
    options = {"n_draws": N_DRAWS, "seed": 4, "length": LENGTH, "category_axis": 0, **options}
    score_variants(model, **world, overwrite=True, **options)
    return pd.read_parquet(world["table"])


def window(text: str, pos: int, shift: int = 0) -> str:
    start = pos - 1 - (LENGTH - 1) // 2 + shift
    return "".join(text[i] if 0 <= i < len(text) else "N" for i in range(start, start + LENGTH))


def complement(text: str) -> str:
    return text[::-1].translate(str.maketrans("ACGT", "TGCA"))


def oracle(row: Any, shifts: tuple[int, ...] = (0,), rc: bool = False) -> dict[str, float]:
    """Statistics of one row of the table from plain forward passes and numpy."""
    start = row.pos - 1
    edited = SEQUENCE[:start] + row.alt + SEQUENCE[start + len(row.ref) :]
    pairs = [(window(SEQUENCE, row.pos, s), window(edited, row.pos, s)) for s in shifts]
    if rc:
        pairs += [(complement(ref), complement(alt)) for ref, alt in pairs]
    x = torch.from_numpy(np.stack([one_hot(text) for pair in pairs for text in pair]))
    draws = np.stack([
        locked_forward(tiny_net(), x, draw, seed=4).double().numpy()[:, int(row.output)]
        .reshape(len(pairs), 2).mean(axis=0)
        for draw in (POINT, *range(N_DRAWS))
    ])  # fmt: skip
    point, draws = draws[0], draws[1:]
    ref, alt = draws.T
    effect = alt - ref
    mean, sd = effect.mean(), effect.std(ddof=1)
    return {
        "ref_mean": ref.mean(), "ref_var": ref.var(ddof=1), "ref_point": point[0],
        "alt_mean": alt.mean(), "alt_var": alt.var(ddof=1), "alt_point": point[1],
        "ref_alt_cov": np.cov(ref, alt)[0, 1], "effect_mean": mean, "effect_sd": sd,
        "effect_mcse": sd / np.sqrt(N_DRAWS), "effect_point": point[1] - point[0], "z": mean / sd,
        "p_value": 2 * stats.norm.sf(abs(mean / sd)),
        "prob_positive": (effect > 0).mean() + 0.5 * (effect == 0).mean(),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("shifts", "rc", "engine"),
    [
        ((0,), False, "full"),
        ((0,), True, "full"),
        ((0, 2, -1), False, "full"),
        ((1, -2), True, "full"),
        ((0,), False, "incremental"),
        ((0, 1), True, "incremental"),
    ],
)
def test_every_statistic_of_every_allele_equals_the_oracle(
    world: dict[str, Any], shifts: tuple[int, ...], rc: bool, engine: str
) -> None:
    table = score(tiny_net(), world, shifts=shifts, rc=rc, engine=engine)
    assert len(table) == 9 * 3
    for row in table.itertuples():
        for name, value in oracle(row, shifts, rc).items():
            assert getattr(row, name) == pytest.approx(value, rel=2e-4, abs=2e-7), (row.id, name)
    assert (table.n_draws == N_DRAWS).all()
    assert table.groupby("id", observed=True).flags.first()[["begin", "end", "snv"]].tolist() == [
        "edge_padded", "edge_padded", "",
    ]  # fmt: skip


def test_the_kinds_and_the_numbers_of_the_alleles(world: dict[str, Any]) -> None:
    table = score(tiny_net(), world, targets=["1"])
    assert list(zip(table.id, table.allele, table.kind, strict=True)) == [
        ("snv", 1, "snv"), ("mnv", 1, "mnv"), ("ins", 1, "insertion"), ("del", 1, "deletion"),
        ("delins", 1, "delins"), ("two", 1, "deletion"), ("two", 2, "snv"), ("begin", 1, "snv"),
        ("end", 1, "insertion"),
    ]  # fmt: skip


def test_numbers_do_not_depend_on_batches_or_order(world: dict[str, Any], tmp_path: Path) -> None:
    key = ["id", "allele", "output"]
    expected = score(tiny_net(), world).sort_values(key)
    numbers = expected.select_dtypes("float64").columns
    small = score(tiny_net(), world, batch_size=2).sort_values(key)
    turned = {**world, "vcf": write_vcf(tmp_path / "turned.vcf", records()[::-1], {"c": 200})}
    reverse = score(tiny_net(), turned).sort_values(key)
    for other_run in (small, reverse):
        np.testing.assert_allclose(other_run[numbers], expected[numbers], rtol=1e-3, atol=1e-6)


def test_alleles_of_a_position_share_the_reference(world: dict[str, Any]) -> None:
    """15 distinct windows for 9 alleles: 7 references, and the alleles."""
    rows = []

    class Counting(FullEngine):
        def run(self, batch: Any, draws: Any, selected: Any = None) -> Any:
            rows.append((len(batch.reference_codes), batch.n_mutants))
            return super().run(batch, draws, selected)

    score(tiny_net(), world, engine=Counting)
    assert rows == [(7, 9)]


def test_a_spelling_on_the_right_equals_the_one_on_the_left_after_normalize(tmp_path: Path) -> None:
    sequence = random_sequence(60, 2) + "GATCACACACATTG" + random_sequence(60, 3)
    spellings = [(63, "TCA", "T"), (65, "ACA", "A"), (69, "ACA", "A"), (68, "CACA", "CA")]
    for pos, ref, _ in spellings:
        assert sequence[pos - 1 : pos - 1 + len(ref)] == ref
    lines = [f"c {pos} v{i} {ref} {alt} . . ." for i, (pos, ref, alt) in enumerate(spellings)]
    world = {
        "vcf": write_vcf(tmp_path / "in.vcf", lines, {"c": len(sequence)}),
        "fasta": write_fasta(tmp_path / "g.fa", {"c": sequence}),
        "table": tmp_path / "t.parquet",
    }
    table = score(tiny_net(), world, normalize=True, targets=["0"])
    assert table.effect_mean.nunique() == 1
    assert table.pos.tolist() == [63, 65, 69, 68]  # as in the file
    apart = score(tiny_net(), world, targets=["0"])
    assert apart.effect_mean.nunique() > 1


def test_a_mutant_that_equals_its_reference_has_no_effect_at_all(tmp_path: Path) -> None:
    """A base less in a run of one base that fills the window."""
    sequence = random_sequence(40, 1) + "A" * 60 + random_sequence(40, 2)
    world = {
        "vcf": write_vcf(tmp_path / "in.vcf", ["c 65 . AAA A . . ."], {"c": 140}),
        "fasta": write_fasta(tmp_path / "g.fa", {"c": sequence}),
        "table": tmp_path / "t.parquet",
    }
    table = score(tiny_net(), world, rc=True)
    assert (table.effect_mean == 0).all()
    assert (table.effect_sd == 0).all()
    assert (table.prob_positive == 0.5).all()
    assert table.z.isna().all()
    assert table.p_value.isna().all()


def test_scores_quantiles_and_q_values(world: dict[str, Any]) -> None:
    table = score(
        tiny_net(), world, scores=["logit", "deepsea_effect", "ref"], quantiles=[0.25], q_values=True
    )
    assert table.groupby("score", observed=True).size().to_dict() == {
        "logit": 27, "deepsea_effect": 27, "ref": 27,
    }  # fmt: skip
    assert (table.effect_q0_25 if "effect_q0_25" in table else table["effect_q0.25"]).notna().all()
    for _, part in table.groupby("score", observed=True):
        p = part.p_value.dropna()
        expected = stats.false_discovery_control(p) if len(p) else p
        np.testing.assert_allclose(part.q_value.dropna(), expected, rtol=1e-12)


def test_the_window_of_n_is_encoded_as_asked(world: dict[str, Any]) -> None:
    uniform = score(tiny_net(), world)
    zero = score(tiny_net(), world, unknown="zero")
    same = (uniform.ref_point - zero.ref_point).abs() < 1e-7
    assert set(uniform.id[~same]) == {"begin", "end"}


def test_layouts_give_the_same_numbers(world: dict[str, Any]) -> None:
    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tiny_net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x.transpose(1, 2))

    class Tall(Last):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x.squeeze(2))

    expected = score(tiny_net(), world)
    numbers = expected.select_dtypes("float64").columns
    last = score(Last(), world, category_axis=1)
    tall = score(Tall(), world, input_shape=(4, 1, LENGTH), length=None, category_axis=None)
    for table in (last, tall):
        np.testing.assert_allclose(table[numbers], expected[numbers], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"input_shape": (4, 4), "category_axis": None}, "category_axis"),
        ({"input_shape": (5, 30), "category_axis": None}, "fifth stands for N"),
        ({"input_shape": (4, 6, 7), "length": None}, "axis of positions"),
        ({"shifts": (0, 0)}, "shifts"),
        ({"shifts": (11,)}, "shifts"),
        ({"edge": "wrap"}, "edge"),
        ({"ref_mismatch": "score"}, "ref_mismatch"),
        ({"unknown": "one"}, "unknown"),
        ({"n_draws": 1}, "n_draws"),
        ({"batch_size": 0}, "batch_size"),
        ({"engine": "warp"}, "engine"),
        ({"scores": ["difff"]}, "score"),
        ({"targets": ["9"]}, "target"),
        ({"seed": -1}, "seed"),
        ({"region": "c:0-9"}, "region"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_is_written(
    world: dict[str, Any], options: dict[str, Any], complaint: str
) -> None:
    before = sorted(world["table"].parent.iterdir())
    with pytest.raises(ValueError, match=complaint):
        score(tiny_net(), world, **options)
    assert sorted(world["table"].parent.iterdir()) == before


def test_a_model_that_gives_nan_is_refused_with_the_place(world: dict[str, Any]) -> None:
    class Broken(TinyNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * torch.where(x[:, :1, 0] > 0.5, torch.nan, 1.0)

    with pytest.raises(NonFiniteOutputError, match=r"c:\d+"):
        score(Broken(), world)


def test_the_model_is_as_it_was(world: dict[str, Any]) -> None:
    net = tiny_net().train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    score(net, world)
    assert all(part.training for part in net.modules())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    with pytest.raises(InputError):
        score(net, world, region="c:0-1")
    assert net.training


def test_the_incremental_engine_is_checked_as_it_runs(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kipoi_mcdropout.engine import EngineMismatchError
    from kipoi_mcdropout.engine.incremental.rules.pointwise import Pointwise

    model, right = tiny_net(), Pointwise.run
    lines = [f"c {pos} . {base_at(pos)} {other(base_at(pos))} . . ." for pos in range(40, 60)]
    write_vcf(world["vcf"], lines, {"c": 200})
    expected = score(model, world, engine="full")
    found = score(model, world, engine="incremental")
    np.testing.assert_allclose(found["effect_mean"], expected["effect_mean"], atol=1e-6)

    def wrong(*args: Any) -> Any:
        window = right(*args)
        for values in (window.delta, window.new):
            if values is not None:
                values.mul_(1.01)
        return window

    monkeypatch.setattr(Pointwise, "run", wrong)
    for on_error in ("stop", "skip"):  # no batch to be skipped: the numbers before it are in doubt too
        with pytest.raises(EngineMismatchError, match="the fast engine differs from the model"):
            score(model, world, engine="incremental", on_error=on_error)
    score(model, world, engine="incremental", verify=False)
