"""Instruments from a tidy table, and their selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mr_data import from_draws, simulated
from numpy.testing import assert_allclose, assert_array_equal

from kipoi_mcdropout.effects.score_names import UNSIGNED_SCORES
from kipoi_mcdropout.errors import InputError, TargetError
from kipoi_mcdropout.mr import (
    Instruments,
    diagnose,
    instruments_from_table,
    mr_estimate,
    select_instruments,
)

N_DRAWS = 30
MUTANTS = [("s1", 10, "A", "C"), ("s1", 10, "A", "G"), ("s1", 14, "T", "A"), ("s2", 10, "A", "C")]


def tidy(seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of three outputs, shuffled, and the draws behind them, a column per row."""
    rng = np.random.default_rng(seed)
    rows = [(*m, output) for output in ("FOXA2", "DNase", "CTCF") for m in MUTANTS]
    table = pd.DataFrame(rows, columns=["sequence", "position", "ref", "alt", "output"])
    table.insert(1, "chrom", "chr1")
    draws = rng.normal(size=len(table)) + 0.1 * rng.normal(size=(N_DRAWS, len(table)))
    table["effect_mean"] = draws.mean(0)
    table["effect_sd"] = draws.std(0, ddof=1)
    table["effect_mcse"] = table["effect_sd"] / np.sqrt(N_DRAWS)
    table["n_draws"] = N_DRAWS
    order = rng.permutation(len(table))
    return table.iloc[order].reset_index(drop=True), draws[:, order]


def mutant_of(name: str) -> tuple[str, int, str, str]:
    """As in `MUTANTS`, of ``SEQUENCE at POSITION ref>alt``."""
    sequence, _, position, alleles = name.split(" ")
    ref, alt = alleles.split(">")
    return sequence, int(position), ref, alt


def row_of(table: pd.DataFrame, name: str, output: str) -> int:
    sequence, position, ref, alt = mutant_of(name)
    hit = (table["sequence"] == sequence) & (table["position"] == position)
    hit &= (table["ref"] == ref) & (table["alt"] == alt) & (table["output"] == output)
    (row,) = np.flatnonzero(hit)
    return int(row)


@pytest.mark.parametrize("se_type", ["sd", "mcse"])
def test_rows_are_paired_by_mutant_whatever_their_order(se_type: Any) -> None:
    table, draws = tidy()
    found = instruments_from_table(table, "FOXA2", "DNase", draws=draws, se_type=se_type)
    assert set(found.snp) == {f"{s} at {p} {r}>{a}" for s, p, r, a in MUTANTS}
    for i, name in enumerate(found.snp):
        x, y = row_of(table, name, "FOXA2"), row_of(table, name, "DNase")
        assert found.beta_exposure[i] == table["effect_mean"][x]
        assert found.se_exposure[i] == table[f"effect_{se_type}"][x]
        assert found.beta_outcome[i] == table["effect_mean"][y]
        assert found.se_outcome[i] == table[f"effect_{se_type}"][y]
        assert_array_equal(found.draws_exposure[:, i], draws[:, x])  # type: ignore[index]
        assert_array_equal(found.draws_outcome[:, i], draws[:, y])  # type: ignore[index]
        assert (found.other_allele[i], found.effect_allele[i]) == tuple(name.split(" ")[-1].split(">"))  # type: ignore[index]
    assert (found.exposure, found.outcome, found.n_draws) == ("FOXA2", "DNase", N_DRAWS)
    assert found.provenance["score"] == "not stated"


def test_names_do_without_what_the_table_lacks() -> None:
    table, _ = tidy()
    no_chrom = instruments_from_table(table.assign(chrom=None), "FOXA2", "CTCF")
    assert "s2 at 10 A>C" in no_chrom.snp
    one = table[table["sequence"] == "s2"].drop(columns="sequence")
    assert instruments_from_table(one, "FOXA2", "CTCF").snp.tolist() == ["chr1:10:A:C"]


def test_the_score_is_chosen_by_name() -> None:
    table, _ = tidy()
    both = pd.concat([table.assign(score="diff"), table.assign(score="logit", effect_mean=1.0)])
    found = instruments_from_table(both, "FOXA2", "DNase", score="logit")
    assert_array_equal(found.beta_exposure, 1.0)
    assert found.provenance["score"] == "logit"
    assert instruments_from_table(table.assign(score="diff"), "FOXA2", "DNase").n_kept == 4
    with pytest.raises(InputError, match=r"the table has diff, logit\. Name one"):
        instruments_from_table(both, "FOXA2", "DNase")
    with pytest.raises(InputError, match="no score 'probit'"):
        instruments_from_table(both, "FOXA2", "DNase", score="probit")


@pytest.mark.parametrize("score", sorted(UNSIGNED_SCORES))
@pytest.mark.parametrize("as_column", [True, False])
def test_scores_without_a_sign_are_refused(score: str, as_column: bool) -> None:
    table, _ = tidy()
    table, chosen = (table.assign(score=score), {}) if as_column else (table, {"score": score})
    with pytest.raises(InputError, match=f"a score with a sign.*{score!r} (has|is)"):
        instruments_from_table(table, "FOXA2", "DNase", **chosen)


def test_bad_tables_are_refused() -> None:
    table, draws = tidy()
    first = table["output"].eq("FOXA2").idxmax()
    cases: list[tuple[pd.DataFrame, str]] = [
        (table.drop(columns=["effect_sd", "alt"]), "lacks alt, effect_sd; it has sequence"),
        (table.drop(columns=["sequence", "chrom"]), "lacks sequence or chrom"),
        (pd.concat([table, table.loc[[first]]]), "1 rows of 'FOXA2' repeat a mutant"),
        (table.drop(index=first), "same mutants; 1 are in only one"),
        (table.assign(n_draws=range(len(table))), "one number of draws"),
        (table.assign(n_draws=0), "at least 2 draws"),
        (
            table.assign(effect_mean=table["effect_mean"].where(table.index != first)),
            "beta_exposure must be finite; 1 of 4",
        ),
    ]
    for bad, message in cases:
        with pytest.raises(InputError, match=message):
            instruments_from_table(bad, "FOXA2", "DNase")
    with pytest.raises(InputError, match="both are 'DNase'"):
        instruments_from_table(table, "DNase", "DNase")
    with pytest.raises(TargetError, match=r"no output 'FOXA1' among the 3.*nearest are FOXA2"):
        instruments_from_table(table, "FOXA1", "DNase")
    with pytest.raises(InputError, match=r"draws must have shape \(n_draws, 12\)"):
        instruments_from_table(table, "FOXA2", "DNase", draws=draws[:, :4])
    with pytest.raises(InputError, match="do not belong"):
        instruments_from_table(table, "FOXA2", "DNase", draws=draws[:, ::-1])
    with pytest.raises(InputError, match="se_type"):
        instruments_from_table(table, "FOXA2", "DNase", se_type="se")  # type: ignore[arg-type]


def placed(z: list[float], position: list[int], **more: Any) -> Instruments:
    n = len(z)
    return Instruments(
        snp=[f"m{i}" for i in range(n)],
        beta_exposure=z,
        se_exposure=np.ones(n),
        beta_outcome=np.ones(n),
        se_outcome=np.ones(n),
        position=position,
        **more,
    )


def test_each_step_of_the_selection() -> None:
    one = placed([5, -9, 1, 3, 2.5, 4], [10, 10, 10, 12, 30, 33])
    chosen = select_instruments(one, min_z=2, one_per_position=True, min_distance_bp=3, top_n=2)
    assert chosen.reason.tolist() == [
        "weaker_alternative",
        "",
        "below_min_z",
        "near_a_stronger_one",
        "not_in_top_n",
        "",
    ]
    assert chosen.kept().snp.tolist() == ["m1", "m5"]
    record = chosen.provenance["selection"]
    assert record["left_after"] == {
        "usable": 6,
        "below_min_z": 5,
        "weaker_alternative": 4,
        "near_a_stronger_one": 3,
        "not_in_top_n": 2,
    }
    assert (record["min_z"], record["top_n"], record["select_draws"]) == (2, 2, "all")
    again = select_instruments(chosen, top_n=1).provenance["selection"]
    assert again["before"] == record
    assert again["left_after"] == {"usable": 2, "not_in_top_n": 1}


def test_distance_is_within_a_sequence() -> None:
    one = placed([5, 4, 3], [10, 11, 12], sequence=["a", "b", "a"])
    assert select_instruments(one, min_distance_bp=3).mr_keep.tolist() == [True, True, False]
    assert select_instruments(one, min_distance_bp=2).n_kept == 3


@given(
    z=st.lists(st.integers(1, 20), min_size=1, max_size=25),
    distance=st.integers(1, 12),
    data=st.data(),
)
def test_thinned_instruments_keep_their_distance_and_none_is_missing(
    z: list[int], distance: int, data: st.DataObject
) -> None:
    position = data.draw(st.lists(st.integers(0, 60), min_size=len(z), max_size=len(z)))
    chosen = select_instruments(placed([float(v) for v in z], position), min_distance_bp=distance)
    kept = np.flatnonzero(chosen.mr_keep)
    for i in range(len(z)):
        near = [k for k in kept if k != i and abs(position[k] - position[i]) < distance]
        if chosen.mr_keep[i]:
            assert not near
        else:
            assert any(z[k] >= z[i] for k in near)


def window(
    number: int, start: int, n: int = 8, strand: str = "+", seed: int | None = None
) -> tuple[pd.DataFrame, np.ndarray]:
    """One mutant a position of bases start + 1, ... of chromosome "1", on two outputs, and its draws."""
    rng = np.random.default_rng(number if seed is None else seed)
    position = np.arange(n)
    pos = start + 1 + position if strand == "+" else start + n - position
    base = np.array(list("ACGT"))[pos % 4]
    ref, alt = (base, np.where(base == "A", "C", "A")) if strand == "+" else (None, None)
    if strand == "-":  # the same mutants, written on the other strand
        other = dict(zip("ACGT", "TGCA", strict=True))
        ref = np.array([other[b] for b in base])
        alt = np.where(base == "A", "G", "T")
    effect = rng.normal(1, 0.3, n)
    tables, draws = [], []
    for output, slope in (("x", 1.0), ("y", 0.5)):
        own = slope * effect + 0.2 * rng.normal(size=(N_DRAWS, n)) + 0.1 * rng.normal(size=n)
        tables.append(
            pd.DataFrame(
                {
                    "sequence": f"w{number}", "chrom": "1", "pos": pos, "strand": strand,
                    "position": position, "ref": ref, "alt": alt, "output": output,
                    "effect_mean": own.mean(0), "effect_sd": own.std(0, ddof=1),
                    "effect_mcse": own.std(0, ddof=1) / N_DRAWS**0.5, "n_draws": N_DRAWS,
                }
            )
        )  # fmt: skip
        draws.append(own)
    return pd.concat(tables, ignore_index=True), np.concatenate(draws, axis=1)


def joined(*windows: tuple[pd.DataFrame, np.ndarray]) -> tuple[pd.DataFrame, np.ndarray]:
    tables, draws = zip(*windows, strict=True)
    return pd.concat(tables, ignore_index=True), np.concatenate(draws, axis=1)


@pytest.mark.parametrize("options", [{}, {"one_per_position": True, "min_distance_bp": 5}])
def test_a_window_that_is_given_twice_counts_once(options: dict[str, Any]) -> None:
    """The standard errors of 8 mutants, and not of 16: that of IVW was too small by sqrt(2)."""
    once, once_draws = window(0, 100)
    both, draws = joined((once, once_draws), (once.assign(sequence="again"), once_draws))
    right = select_instruments(instruments_from_table(once, "x", "y", draws=once_draws), **options)
    found = select_instruments(instruments_from_table(both, "x", "y", draws=draws), **options)
    assert found.n_kept == right.n_kept == (2 if options else 8)
    assert_array_equal(found.kept().snp, right.kept().snp)
    for method in ("ivw", "ivw_bootstrap_draws"):
        ours, expected = (mr_estimate(i, method, n_bootstrap=20) for i in (found, right))
        assert (ours.estimate, ours.se) == (expected.estimate, expected.se)
    assert (found.reason == "same_mutant_in_another_window").sum() == 8
    assert found.provenance["n_repeated"] == 8
    told = {code: message for code, message in diagnose(found)}
    assert "8 of 16 rows are mutants that also lie in another window" in told["repeated_mutants"]
    assert "repeated_mutants" not in {code for code, _ in diagnose(right)}


@pytest.mark.parametrize("strand", ["+", "-"])
def test_overlapping_windows_give_each_mutant_where_it_is_most_central(strand: str) -> None:
    both, _ = joined(window(0, 100), window(1, 104, strand=strand))
    found = instruments_from_table(both, "x", "y")
    kept = found.kept()
    # Bases 105 to 108 are in both. Their middles are 104.5 and 108.5: 106.5 lies between the two.
    assert kept.position.tolist() == (  # type: ignore[union-attr]
        [101, 102, 103, 104, 105, 106, *([107, 108, 109, 110, 111, 112][:: 1 if strand == "+" else -1])]
    )
    assert kept.sequence.tolist() == ["w0"] * 6 + ["w1"] * 6  # type: ignore[union-attr]
    base = np.array(list("ACGT"))[kept.position % 4]  # type: ignore[operator]
    assert_array_equal(kept.other_allele, base)
    assert_array_equal(kept.effect_allele, np.where(base == "A", "C", "A"))
    assert kept.snp[0] == "1:101:C:A"
    names = set(found.snp[~found.mr_keep])
    assert names < {f"{name}@{w}" for name in kept.snp for w in ("w0", "w1")}


def test_of_windows_in_which_it_is_as_central_the_first_has_it() -> None:
    both, _ = joined(window(0, 100), window(1, 100))
    found = instruments_from_table(both, "x", "y").kept()
    assert set(found.sequence) == {"w0"}  # type: ignore[arg-type]


def test_distance_is_on_the_genome_where_windows_overlap() -> None:
    both, _ = joined(window(0, 100), window(1, 104))
    thinned = select_instruments(instruments_from_table(both, "x", "y"), min_distance_bp=4).kept()
    position = np.sort(thinned.position)  # type: ignore[arg-type]
    assert (np.diff(position) >= 4).all()
    assert 3 <= len(position) <= 4


def test_without_a_place_on_the_genome_sequences_are_apart() -> None:
    both, _ = joined(window(0, 100), window(1, 100))
    for table in (both.drop(columns=["chrom", "pos"]), both.assign(chrom=None, pos=None)):
        found = instruments_from_table(table, "x", "y")
        assert found.n_kept == 16
        assert found.chrom is None
        assert found.snp[0] == "w0 at 0 C>A"


def test_a_spread_that_is_rounding_of_the_outputs_is_no_variance() -> None:
    table, _ = window(0, 100)
    table = table.assign(ref_mean=0.9, alt_mean=0.9, ref_var=0.0, alt_var=0.0)
    table.loc[3, ["effect_sd", "effect_mcse", "effect_mean"]] = [5e-7, 1e-7, 1e-6]  # the row of x
    found = instruments_from_table(table, "x", "y")
    assert found.reason.tolist() == ["", "", "", "zero_variance_exposure", "", "", "", ""]
    small = table.assign(ref_mean=1e-3, alt_mean=1e-3)
    assert instruments_from_table(small, "x", "y").n_kept == 8


def test_z_uses_the_sd_whatever_the_se_type() -> None:
    sd, mcse = simulated(n_draws=100), simulated(n_draws=100, se_type="mcse")
    a, b = (select_instruments(i, min_z=2.0) for i in (sd, mcse))
    assert_array_equal(a.mr_keep, b.mr_keep)
    assert 0 < a.n_kept < 20


@pytest.mark.parametrize("se_type", ["sd", "mcse"])
def test_half_of_the_draws_selects_and_the_other_half_estimates(se_type: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 11, 30))
    one = from_draws(x, y, se_type)
    chosen = select_instruments(one, top_n=5, select_draws="half")
    z = np.abs(x[:5].mean(0)) / x[:5].std(0, ddof=1)
    assert set(np.flatnonzero(chosen.mr_keep)) == set(np.argsort(-z)[:5])
    assert_allclose(chosen.beta_exposure, x[5:].mean(0))
    assert_allclose(chosen.beta_outcome, y[5:].mean(0))
    scale = 1 if se_type == "sd" else 6**-0.5
    assert_allclose(chosen.se_outcome, y.std(0, ddof=1) * scale)  # a weight: the sd of all draws
    assert chosen.n_draws == 6
    record = chosen.provenance["selection"]
    assert (record["n_draws_selection"], record["n_draws_estimation"]) == (5, 6)


def test_splitting_the_draws_removes_the_winners_curse() -> None:
    # no mutant has an effect: what is selected on all draws looks strong, on the other half it does
    # not
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 40, 2000))
    one = from_draws(x, y)
    same, split = (
        select_instruments(one, top_n=50, select_draws=how).kept()  # type: ignore[arg-type]
        for how in ("all", "half")
    )
    sign = np.sign(x[:20].mean(0))
    kept = select_instruments(one, top_n=50, select_draws="half").mr_keep
    assert np.abs(same.beta_exposure).mean() > 2 * 40**-0.5
    assert abs((split.beta_exposure * sign[kept]).mean()) < 4 * (20 * 50) ** -0.5


def test_bad_selections_are_refused() -> None:
    one = placed([1, 2], [1, 2])
    cases: list[tuple[dict[str, Any], str]] = [
        ({"min_z": -1}, "min_z must not be negative"),
        ({"top_n": 0}, "top_n must be at least 1"),
        ({"min_distance_bp": 0}, "min_distance_bp must be at least 1"),
        ({"select_draws": "third"}, "select_draws must be"),
        ({"select_draws": "half"}, "requires the effects of each draw"),
        ({"min_z": 9}, r"0 of 2 are left \(kept out: 2 below_min_z\)"),
    ]
    for options, message in cases:
        with pytest.raises(InputError, match=message):
            select_instruments(one, **options)
    with pytest.raises(InputError, match="at least 4 draws"):
        select_instruments(simulated(n_draws=3), select_draws="half")
    with pytest.raises(InputError, match="requires the positions"):
        select_instruments(simulated(), one_per_position=True)


def test_zero_variance_rows_stay_out_through_a_selection() -> None:
    one = Instruments(
        snp=["a", "b"],
        beta_exposure=[1.0, 2.0],
        se_exposure=[0.0, 1.0],
        beta_outcome=[1.0, 1.0],
        se_outcome=[1.0, 1.0],
    )
    chosen = select_instruments(one, top_n=2)
    assert chosen.reason.tolist() == ["zero_variance_exposure", ""]
    assert chosen.mr_keep.tolist() == [False, True]


def test_mutants_may_have_different_numbers_of_draws() -> None:
    """Under --until: sd and mcse are those of each row, and no factor makes one of the other."""
    table, _ = tidy()
    of_mutant = dict(zip(MUTANTS, (15, 15, 31, 63), strict=True))
    keys = zip(*(table[name] for name in ("sequence", "position", "ref", "alt")), strict=True)
    table["n_draws"] = [of_mutant[key] for key in keys]
    table["effect_mcse"] = table["effect_sd"] / np.sqrt(table["n_draws"])
    found = instruments_from_table(table, "FOXA2", "DNase", se_type="sd")
    assert found.n_draws == 15, "the fewest"
    mcse = found.with_se_type("mcse")
    n = [of_mutant[mutant_of(name)] for name in found.snp]
    assert_allclose(mcse.se_exposure, found.se_exposure / np.sqrt(n))
    assert_allclose(mcse.se_outcome, found.se_outcome / np.sqrt(n))
    for name in ("se_exposure", "se_outcome"):
        assert_array_equal(getattr(mcse.with_se_type("sd"), name), getattr(found, name))
    direct = instruments_from_table(table, "FOXA2", "DNase", se_type="mcse")
    assert_array_equal(direct.se_exposure, mcse.se_exposure)
    assert mr_estimate(mcse, "ivw").estimate == mr_estimate(direct, "ivw").estimate
    (large,) = (d for d in diagnose(found) if d.code == "mcse_large")
    assert "15 draws or more of each mutant leave the mean effects with an error of 22 %" in str(large)
    assert "smaller --until" in str(large)
