"""The facts of a report are those of the tables, whatever the pieces they are read in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_world import N_DRAWS, Page, effects, record_of, write_parquet

from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.read import read_draws, read_effects
from kipoi_mcdropout.files.read_stream import iter_effects
from kipoi_mcdropout.mr import mr_estimate
from kipoi_mcdropout.reports import gather, render
from kipoi_mcdropout.reports.draws import gather_draws
from kipoi_mcdropout.reports.effects import EffectFacts, gather_effects
from kipoi_mcdropout.reports.inputs import find_inputs
from kipoi_mcdropout.reports.mr import gather_mr, instruments_of_result
from kipoi_mcdropout.reports.selection import MOST_INTERVALS, MOST_POINTS, select_rows


def whole(path: Path) -> pd.DataFrame:
    table = read_effects(path)
    return table.assign(z=table["effect_mean"].astype(float) / table["effect_sd"].astype(float))


@pytest.mark.parametrize("suffix", ["h5", "parquet", "tsv"])
def test_top_effects_are_those_of_the_table_sorted_by_z(suffix: str, results: Path) -> None:
    path = results / f"ism.{suffix}"
    facts = gather_effects(iter_effects(path), top=25)
    table = whole(path)
    own = table[table["score"] == "diff"]  # logits have a scale of their own
    expected = own.loc[own["z"].abs().sort_values(ascending=False, kind="stable").index].head(25)
    keys = ["sequence", "position", "alt", "output", "score"]
    assert facts.top[keys].to_numpy().tolist() == expected[keys].to_numpy().tolist()
    np.testing.assert_allclose(facts.top["z"], expected["z"], rtol=1e-12)
    assert list(facts.top["rank"]) == list(range(1, 26))
    assert (facts.n_rows, facts.n_ranked, facts.score) == (len(table), len(own), "diff")
    assert facts.n_sequences == 3
    assert facts.n_mutants == len(table) / (3 * 2)  # outputs x scores
    assert facts.n_draws == N_DRAWS


@pytest.mark.parametrize("suffix", ["h5", "parquet", "tsv"])
def test_some_outputs_alone_can_be_read(suffix: str, results: Path) -> None:
    path = results / f"ism.{suffix}"
    rows = pd.concat(iter_effects(path, ["DNase"]), ignore_index=True)
    everything = read_effects(path)
    expected = everything[everything["output"] == "DNase"].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        rows[["position", "alt", "score", "effect_mean"]],
        expected[["position", "alt", "score", "effect_mean"]],
    )


def test_outputs_are_summarised_over_all_rows(results: Path) -> None:
    facts = gather_effects(iter_effects(results / "ism.h5"), top=1)
    table = whole(results / "ism.h5")
    assert len(facts.outputs) == 6
    for row in facts.outputs.to_dict("records"):
        own = table[(table["output"] == row["output"]) & (table["score"] == row["score"])]
        mean, sd = own["effect_mean"].astype(float), own["effect_sd"].astype(float)
        assert row["n"] == len(own)
        assert row["mean_abs"] == pytest.approx(mean.abs().mean(), rel=1e-9)
        assert row["mean_sd"] == pytest.approx(sd.mean(), rel=1e-9)
        assert row["max_abs"] == pytest.approx(mean.abs().max())
        assert row["max_abs_z"] == pytest.approx(own["z"].abs().max())
        assert row["n_strong"] == (own["z"].abs() >= 2).sum()
        assert row["n_unsettled"] == (mean.abs() < 2 * own["effect_mcse"].astype(float)).sum()


@settings(max_examples=40)
@given(st.data())
def test_how_the_table_is_cut_does_not_matter(data: st.DataObject) -> None:
    number = st.floats(-2, 2, allow_subnormal=False) | st.just(float("nan")) | st.just(0.0)
    mean = data.draw(st.lists(number, min_size=1, max_size=30))
    n = len(mean)
    sd = data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.5]), min_size=n, max_size=n))
    score = data.draw(st.lists(st.sampled_from(["diff", "alt"]), min_size=n, max_size=n))
    table = effects(mean, sd, score=score)
    top = data.draw(st.integers(1, 10))
    rank_by = data.draw(st.sampled_from(["z", "effect"]))
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    pieces = [table.iloc[a:b] for a, b in zip([0, *cuts], [*cuts, n], strict=True)]
    one, many = (gather_effects(iter(p), top, rank_by) for p in ([table], pieces))
    pd.testing.assert_frame_equal(one.top, many.top)
    pd.testing.assert_frame_equal(one.outputs, many.outputs, rtol=1e-9)
    assert (one.n_rows, one.n_nan, one.n_no_spread, one.n_mutants, one.n_ranked) == (
        many.n_rows, many.n_nan, many.n_no_spread, many.n_mutants, many.n_ranked
    )  # fmt: skip


def test_a_tiny_effect_of_another_score_is_ranked_wherever_the_table_is_cut() -> None:
    table = effects([0.5, 1e-30, 1e-30], [0.1, 0.1, 0.1], score=["alt", "alt", "alt"])
    pieces = [table.iloc[:2], table.iloc[2:]]
    one, many = (gather_effects(iter(p), 3) for p in ([table], pieces))
    assert one.n_ranked == many.n_ranked == 3
    pd.testing.assert_frame_equal(one.top, many.top)


def facts_of(table: pd.DataFrame, **options: object) -> EffectFacts:
    return gather_effects(iter([table]), **options)  # type: ignore[arg-type]


def test_ranks_by_hand() -> None:
    table = effects([0.1, -0.6, 0.3, 0.0, 0.2], [0.1, 0.2, 0.01, 0.1, 0.0])
    facts = facts_of(table)
    assert list(facts.top["position"]) == [2, 1, 0]  # |z| 30, 3, 1; then no effect, and no sd
    assert facts.n_no_spread == 1
    by_effect = facts_of(table, rank_by="effect")
    assert list(by_effect.top["position"]) == [1, 2, 4, 0]


def test_predictions_are_no_effects_unless_there_is_nothing_else() -> None:
    table = effects([0.9, 0.1], [0.001, 0.1], score=["alt", "diff"])
    assert list(facts_of(table).top["score"]) == ["diff"]
    assert list(facts_of(table[table["score"] == "alt"]).top["score"]) == ["alt"]


def test_scores_are_not_mixed_in_one_ranking() -> None:
    table = effects([0.1, 5.0, 0.2], [0.1, 0.1, 0.1], score=["diff", "logit", "diff"])
    facts = facts_of(table)
    assert list(facts.top["position"]) == [2, 0]
    assert (set(facts.top["score"]), facts.n_ranked) == ({"diff"}, 2)
    unranked = effects([0.0, 5.0], [0.1, 0.1], score=["diff", "logit"])
    unranked.loc[0, "effect_sd"] = 0.0  # no diff has a z
    assert facts_of(unranked).score == "logit"


def test_rounding_is_no_effect() -> None:
    facts = facts_of(effects([1e-9, 0.5], [1e-12, 0.3]))  # of predictions near 0.5; z = 1000, 1.7
    assert list(facts.top["position"]) == [1]


def test_without_draws_the_point_effects_are_ranked() -> None:
    nan = [float("nan")] * 3
    facts = facts_of(effects(nan, nan, n_draws=0, effect_point=[0.1, -0.7, 0.3]))
    assert facts.point_only
    assert list(facts.top["position"]) == [1, 2, 0]
    assert facts.n_nan == 0


@pytest.mark.parametrize(("top", "rank_by"), [(0, "z"), (5, "p")])
def test_what_cannot_be_ranked_is_refused(top: int, rank_by: str) -> None:
    with pytest.raises(InputError, match="must be"):
        facts_of(effects([1.0], [1.0]), top=top, rank_by=rank_by)


def test_followed_mutants_have_their_own_draws(results: Path) -> None:
    path = results / "ism.h5"
    facts = gather_effects(iter_effects(path), top=20)
    draws = gather_draws(path, facts)
    assert draws is not None
    assert len(draws.followed) == 5
    for mutant in draws.followed:
        row = mutant.row
        table = read_effects(path, [row["output"]], row["score"])
        at = (table["sequence"] == row["sequence"]) & (table["position"] == row["position"])
        (i,) = np.flatnonzero(at & (table["alt"] == row["alt"]))
        expected = read_draws(path, [row["output"]], row["score"])[:, i]
        np.testing.assert_array_equal(mutant.draws, expected)
        mean, sd = mutant.running(N_DRAWS)
        assert mean == pytest.approx(row["effect_mean"], rel=1e-5)
        assert sd == pytest.approx(row["effect_sd"], rel=1e-5)
        assert mutant.running(4)[0] == pytest.approx(mutant.draws[:4].astype(float).mean())
    assert draws.checkpoints == [3, 6, 9, 12]


def test_unsettled_signs_by_hand(tmp_path: Path) -> None:
    table = effects([0.1, 0.01, 0.0, float("nan")], [0.1, 0.1, 0.1, 0.1], n_draws=16)
    draws = gather([write_parquet(tmp_path / "a.parquet", table, record_of(16))]).draws
    assert draws is not None
    assert (draws.n_unsettled, draws.n) == (1, 3)  # 0.01 < 2 * 0.1 / 4; 0 is no effect, NaN no number


def test_few_draws_are_said(tmp_path: Path) -> None:
    few = write_parquet(tmp_path / "few.parquet", effects([0.5], [0.1], 16), record_of(16))
    many = write_parquet(tmp_path / "many.parquet", effects([0.5], [0.1], 25), record_of(25))
    facts = gather([few])
    assert facts.draws is not None
    assert (facts.draws.mcse_to_sd, facts.draws.enough) == (0.25, False)
    assert facts.draws.sd_error == pytest.approx(1 / np.sqrt(30))
    assert "Few draws: 16" in [c.title for c in facts.cautions]
    assert [c.title for c in gather([many]).cautions] == []


def test_a_mean_far_from_the_point_prediction_is_said(tmp_path: Path) -> None:
    near = effects([0.5, 0.3], [0.1, 0.1])
    far = near.assign(effect_point=[0.5 - 0.4, 0.3 + 0.05])  # 4 sd, and half of one
    moved = near.assign(alt_point=near["alt_mean"] + 0.3)  # 3 sd of the prediction, not of the effect
    for table, shifted in ((near, 0), (far, 1), (moved, 2)):
        facts = gather([write_parquet(tmp_path / f"{shifted}.parquet", table, record_of())])
        assert facts.effects is not None
        assert facts.effects.outputs["n_shifted"].sum() == shifted
        titles = [c.title for c in facts.cautions]
        assert titles == (["Dropout shifts the predictions of out"] if shifted else [])


def test_padded_windows_are_a_reason_for_caution(tmp_path: Path) -> None:
    flags = ["edge_padded", "edge_padded&unknown_bases", ""]
    table = effects([0.1] * 3, [0.1] * 3, kind="snv", flags=flags, line=[5, 6, 7], allele=1)
    ledger = {"records": 3, "alleles": 3, "scored": 3, "skipped": {}}
    record = record_of(options={"scores": ["diff"], "length": 24, "info_prefix": "MCD"}, ledger=ledger)
    found = gather([write_parquet(tmp_path / "a.parquet", table, record)]).cautions
    assert [c.title for c in found] == [
        "2 alleles at the end of a contig", "1 allele in windows with unknown bases",
    ]  # fmt: skip
    assert "3 scored alleles (67 %)" in found[0].text


@pytest.mark.parametrize(("wrong", "said"), [(1, False), (40, True)])
def test_many_wrong_refs_hint_at_another_assembly(wrong: int, said: bool, tmp_path: Path) -> None:
    n = 20
    table = effects([0.1] * n, [0.1] * n, kind="snv", flags="", line=range(n), allele=1)
    counts = {"ref_mismatch": wrong}
    ledger = {"records": n + wrong, "alleles": n + wrong, "scored": n, "skipped": counts}
    record = record_of(options={"scores": ["diff"], "length": 24, "info_prefix": "MCD"}, ledger=ledger)
    found = gather([write_parquet(tmp_path / "a.parquet", table, record)]).cautions
    texts = {c.title: c.text for c in found}
    assert ("The genome may be another assembly" in texts) == said
    if said:
        assert "40 of 60 REF differ" in texts["The genome may be another assembly"]


def test_selection_thins_evenly_and_keeps_the_strongest(tmp_path: Path) -> None:
    n = 3 * MOST_POINTS
    random = np.random.default_rng(0)
    mean, sd = random.normal(size=n), random.uniform(0.1, 1, n)
    path = write_parquet(tmp_path / "big.parquet", effects(list(mean), list(sd)), record_of())
    facts = gather_effects(iter_effects(path), top=50)
    (selection,) = select_rows(path, facts)
    assert selection.n_rows == n
    shown = set(selection.thinned["position"])
    assert set(range(0, n, 3)) <= shown
    assert set(facts.top["position"]) <= shown
    assert len(selection.thinned) == len(shown) <= MOST_POINTS + 50
    assert len(selection.one_sequence) == n


def test_a_contig_with_too_many_alleles_is_not_held(tmp_path: Path) -> None:
    for n, held in ((MOST_INTERVALS, MOST_INTERVALS), (MOST_INTERVALS + 1, 0)):
        table = effects([0.5] * n, [0.1] * n).drop(columns=["sequence", "name", "position"])
        table = table.assign(kind="snv", flags="", line=1, allele=1)
        path = write_parquet(tmp_path / f"{n}.parquet", table, record_of())
        (selection,) = select_rows(path, gather_effects(iter_effects(path)))
        assert (len(selection.one_sequence), len(selection.thinned)) == (held, n)


def test_alleles_in_are_scored_and_skipped(results: Path) -> None:
    ledger = gather([results / "variants.parquet", results / "skipped.tsv"]).ledger
    assert ledger is not None
    assert (ledger.alleles, ledger.scored, ledger.skipped) == (6, 3, 3)
    reasons = ledger.reasons.set_index("reason")["n"].to_dict()
    assert reasons == {"overlapping_deletion": 1, "ref_mismatch": 1, "symbolic": 1}
    assert ledger.kinds == {"snv": 3}
    assert ledger.reasons["examples"].str.startswith("chr1:").all()


def test_a_ledger_in_the_record_is_taken_and_checked(tmp_path: Path) -> None:
    table = effects([0.1, 0.2], [0.1, 0.1], kind="snv", flags="", line=[5, 6], allele=1)
    ledger = {"records": 3, "alleles": 3, "scored": 2, "skipped": {"edge": 1}}
    options = {"info_prefix": "MCD", "scores": ["diff"], "length": 24}
    good = write_parquet(tmp_path / "a.parquet", table, record_of(options=options, ledger=ledger))
    facts = gather([good])
    assert facts.ledger is not None
    assert (facts.ledger.records, facts.ledger.alleles) == (3, 3)
    assert [c.title for c in facts.cautions] == ["1 allele was skipped"]
    wrong = write_parquet(tmp_path / "b.parquet", table[:1], record_of(options=options, ledger=ledger))
    with pytest.raises(InputError, match="2 scored, but the table has 1"):
        gather([wrong])


def test_the_ledger_of_a_real_table_is_known(results: Path) -> None:
    facts = gather([results / "variants.parquet"])
    assert facts.ledger is not None
    assert facts.record is not None
    assert facts.ledger.alleles == facts.record["ledger"]["alleles"] > 0


def test_unknown_skipped_alleles_are_said_to_be_unknown(tmp_path: Path) -> None:
    table = effects([0.1, 0.2], [0.1, 0.1], kind="snv", flags="", line=[5, 6], allele=1)
    options = {"info_prefix": "MCD", "scores": ["diff"], "length": 24}
    facts = gather([write_parquet(tmp_path / "a.parquet", table, record_of(options=options))])
    assert facts.ledger is not None
    assert facts.ledger.alleles is None
    assert "Skipped alleles are not known" in [c.title for c in facts.cautions]


def test_positions_without_a_base_are_counted(results: Path) -> None:
    ledger = gather([results / "ism.h5"]).ledger
    assert ledger is not None
    assert ledger.without_base == 2  # the toy's third sequence has NN


@pytest.mark.usefixtures("results")
def test_mr_tables_are_read_as_they_were_written(mr_folder: Path) -> None:
    table = pd.read_table(mr_folder / "mr.tsv", skiprows=1)
    pairs = gather_mr(find_inputs([mr_folder]))
    assert [(p.exposure, p.outcome) for p in pairs] == [("FOXA2", "DNase"), ("FOXA2", "FOXA1")]
    for pair in pairs:
        own = table[table["outcome"] == pair.outcome]
        np.testing.assert_array_equal(pair.estimates["estimate"], own["estimate"])
        assert [code for code, _ in pair.warnings] == own["warnings"].iloc[0].split(";")
        assert pair.first["method"] == "ivw_bootstrap_draws"
        assert pair.advice == own["advice"].iloc[0]
        assert (pair.shown is None) == (own["answer"].iloc[0] != "one_number")
        assert pair.n_left_out == 30
        changes = pair.movers["change"].abs()
        assert len(changes) == 10
        assert changes.is_monotonic_decreasing
        assert list(pair.across["sequence"]) == ["region0", "region1", "region2"]
        assert pair.combined is not None
        assert np.isfinite(pair.combined["tau2"])


def test_instruments_of_an_export_give_the_estimates(
    results: Path, mr_folder: Path, tmp_path: Path
) -> None:
    words = ["export_mr", str(results / "ism.h5"), "--exposure", "FOXA2", "--outcome", "DNase"]
    cli_main("mcdropout", [*words, "--score", "diff", "--top_n", "30", "-o", str(tmp_path)])
    pair = gather_mr(find_inputs([tmp_path, mr_folder / "mr.tsv"]))[0]
    assert pair.instruments is not None
    assert (pair.instruments.n_kept, pair.instruments.n_draws) == (30, N_DRAWS)
    expected = pair.estimates.set_index("method").loc["ivw"]
    found = mr_estimate(pair.instruments, "ivw")
    assert (found.estimate, found.se) == pytest.approx((expected["estimate"], expected["se"]), rel=1e-6)
    assert gather_mr(find_inputs([tmp_path, mr_folder / "mr.tsv"]))[1].instruments is None


def test_two_sets_of_instruments_are_not_mixed(results: Path, mr_folder: Path, tmp_path: Path) -> None:
    words = ["export_mr", str(results / "ism.h5"), "--exposure", "FOXA2", "--outcome", "DNase"]
    cli_main("mcdropout", [*words, "--score", "diff", "--top_n", "20", "-o", str(tmp_path)])
    with pytest.raises(InputError, match=r"different sets of instruments: 30 in .* 20 in the files of"):
        gather_mr(find_inputs([tmp_path, mr_folder / "mr.tsv"]))
    short = pd.read_table(mr_folder / "loo.tsv", skiprows=1).drop(index=5)
    (tmp_path / "loo.tsv").write_text(short.to_csv(sep="\t", index=False))
    with pytest.raises(InputError, match="30 in the estimates of `mr`, 29 in the table of"):
        gather_mr(find_inputs([mr_folder / "mr.tsv", tmp_path / "loo.tsv"]))


def test_instruments_are_found_again_in_the_result(results: Path, mr_folder: Path) -> None:
    pair = gather_mr(find_inputs([mr_folder]))[0]
    leave = pd.read_table(mr_folder / "loo.tsv", skiprows=1)
    leave = leave[leave["outcome"] == "DNase"]
    found = instruments_of_result(iter_effects(results / "ism.h5"), leave, pair)
    assert found is not None
    assert len(found) == 30
    for method in ("ivw", "egger"):
        expected = pair.estimates.set_index("method").loc[method, "estimate"]
        assert mr_estimate(found, method).estimate == pytest.approx(expected, rel=1e-5)
    other = leave.assign(estimate=leave["estimate"] * 1.01)
    assert instruments_of_result(iter_effects(results / "ism.h5"), other, pair) is None


def test_mutants_with_different_numbers_of_draws(tmp_path: Path) -> None:
    """Under --until each row counts with its own number, and the page says what they are."""
    table = effects([0.1, -0.2, 0.001, 0.3], [0.1, 0.1, 0.002, 0.1], [31, 31, 15, 127])
    options = {"method": "mcdropout_ism", "scores": ["diff"], "until": 0.15, "threshold": [0.02]}
    path = write_parquet(tmp_path / "until.parquet", table, record_of(127, options=options))
    facts = gather([path])
    assert facts.effects is not None
    assert facts.effects.draws == {31: 2, 15: 1, 127: 1}
    draws = facts.draws
    assert draws is not None
    assert (draws.n_draws, draws.most_draws, draws.mean_draws) == (15, 127, 51)
    assert draws.sd_error == pytest.approx(28**-0.5)
    page = Page(render(facts, figures=False)).text
    for words in ("Are 15 to 127 draws enough?", "51.0 on average, 127 at most", "at most 127 draws"):
        assert words in page
    assert "Few draws" not in page


def test_the_file_of_instruments_gives_groups_and_figures_and_must_fit(
    results: Path, mr_folder: Path, tmp_path: Path
) -> None:
    pair = ["--exposure", "FOXA2", "--outcome", "DNase", "--score", "diff", "--n_bootstrap", "30"]
    for n, name in ((30, "right"), (25, "wrong")):
        words = ["mr", str(results / "ism.h5"), *pair, "--top_n", str(n), "-o", str(tmp_path / "mr.tsv")]
        words += ["--save_instruments", str(tmp_path / f"{name}.tsv"), "--overwrite"]
        cli_main("mcdropout", words)
    found = gather_mr(find_inputs([mr_folder / "mr.tsv", tmp_path / "right.tsv"]))[0]
    assert len(found.members) == 30
    assert set(found.group_of) == set(found.members["SNP"])
    assert found.instruments is not None
    expected = found.estimates.set_index("method").loc["ivw", "estimate"]
    assert mr_estimate(found.instruments, "ivw").estimate == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match="30 in the estimates of `mr`, 25 in the file of"):
        gather_mr(find_inputs([mr_folder / "mr.tsv", tmp_path / "wrong.tsv"]))
