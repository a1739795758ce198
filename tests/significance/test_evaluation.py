"""`evaluate`: the right numbers in the right rows, paired differences, words, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from evaluation_world import tables
from scipy import stats
from sklearn.metrics import accuracy_score, average_precision_score

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.evaluation import EvaluationOptions, EvaluationResult, evaluate

QUICK = EvaluationOptions(n_bootstrap=200)


def row(
    result: EvaluationResult, quantity: str, order: str = "", minus: str = "", coverage: float = 1
) -> Any:
    table = result.table
    found = table[
        (table["quantity"] == quantity) & (table["order"] == order) & (table["minus"] == minus)
        & (table["coverage"] == coverage)
    ]  # fmt: skip
    assert len(found) == 1
    return found.iloc[0]


@pytest.fixture(scope="module")
def result() -> EvaluationResult:
    return evaluate(*tables(), label="large", options=QUICK)


def test_every_number_is_that_of_others(result: EvaluationResult) -> None:
    predicted, measured = tables()
    both = measured.merge(predicted, on="variant")
    mean, effect, sd = (both[name].to_numpy() for name in ("effect_mean", "effect", "effect_sd"))
    assert row(result, "pearson")["value"] == pytest.approx(stats.pearsonr(mean, effect)[0])
    assert row(result, "spearman")["value"] == pytest.approx(stats.spearmanr(mean, effect)[0])
    signs = accuracy_score(effect > 0, mean > 0)
    assert row(result, "sign_accuracy")["value"] == pytest.approx(signs)
    assert row(result, "label_share")["value"] == both["large"].mean()
    positive = both["prob_positive"].to_numpy()
    orders = {
        "effect": np.abs(mean), "z": np.abs(mean / sd), "sd": -sd,
        "sign": np.maximum(positive, 1 - positive),
    }  # fmt: skip
    squared = (effect - np.polyval(np.polyfit(mean, effect, 1), mean)) ** 2
    smallest = squared[np.argsort(np.abs(mean))[:300]].mean()
    value = row(result, "mean_squared_error", "small", coverage=0.5)["value"]
    assert value == pytest.approx(smallest)
    value = row(result, "mean_squared_error", "sd", "small", 0.5)["value"]
    assert value == pytest.approx(squared[np.argsort(sd)[:300]].mean() - smallest)
    for order, certainty in orders.items():
        precision = average_precision_score(both["large"], certainty)
        assert row(result, "auprc", order)["value"] == pytest.approx(precision)
        if order == "sign":  # has ties; see test_risk_coverage
            continue
        kept = np.argsort(-certainty)[:300]
        right = (mean > 0)[kept] == (effect > 0)[kept]
        value = row(result, "sign_accuracy", order, coverage=0.5)["value"]
        assert value == pytest.approx(right.mean())
        value = row(result, "mean_squared_error", order, coverage=0.5)["value"]
        assert value == pytest.approx(squared[kept].mean())
        wrong = ((mean > 0) != (effect > 0))[np.argsort(-certainty)]
        area = (np.cumsum(wrong) / np.arange(1, 601)).mean()
        assert row(result, "area_sign_error", order)["value"] == pytest.approx(area)


def test_a_difference_is_of_the_same_samples(result: EvaluationResult) -> None:
    for quantity, coverage in (("sign_accuracy", 0.5), ("area_sign_error", 1), ("auprc", 1)):
        z = row(result, quantity, "z", coverage=coverage)
        effect = row(result, quantity, "effect", coverage=coverage)
        both = row(result, quantity, "z", "effect", coverage)
        assert both["value"] == pytest.approx(z["value"] - effect["value"])
        alone = np.hypot(z["upper"] - z["lower"], effect["upper"] - effect["lower"])
        assert both["upper"] - both["lower"] < 0.9 * alone  # as if they were independent
    assert (result.table["lower"] <= result.table["value"] + 1e-9).mean() > 0.99
    assert (result.table["upper"] >= result.table["value"] - 1e-9).mean() > 0.99


def test_with_everything_kept_all_orders_agree(result: EvaluationResult) -> None:
    values = [
        row(result, "sign_accuracy", order)["value"] for order in ("effect", "z", "sd", "sign", "")
    ]
    assert values == pytest.approx([values[0]] * 5)


def test_words_say_whether_the_sd_helps() -> None:
    options = EvaluationOptions(n_bootstrap=200, block_bp=1)
    result = evaluate(*tables(2000), label="large", options=options)
    old = row(result, "sign_accuracy", "effect", coverage=0.5)["value"]
    new = row(result, "sign_accuracy", "z", coverage=0.5)["value"]
    gain = row(result, "sign_accuracy", "z", "effect", 0.5)
    assert result.sentences[0] == (
        "Ordering by |z| instead of |effect| raises sign accuracy in the most certain half from "
        f"{old:.3f} to {new:.3f} (95 % interval of the difference {gain['lower']:.3f} to "
        f"{gain['upper']:.3f})."
    )
    assert any(
        s.startswith("Ordering by sd instead of |effect| lowers auPRC from") for s in result.sentences
    )
    none = evaluate(*tables(300, sd_says_something=False), options=options)
    assert none.sentences[0].startswith(
        "Ordering by |z| instead of |effect| does not clearly change sign accuracy in the most certain"
    )


@pytest.mark.parametrize(("helps", "least", "most"), [(True, 0.8, 1.0), (False, 0.0, 0.1)])
def test_the_interval_of_a_difference_is_right(helps: bool, least: float, most: float) -> None:
    """Of 40 sets of data, an order by |z| is said to be better where it is, and hardly ever else."""
    options = EvaluationOptions(n_bootstrap=200, block_bp=1)
    said = 0
    for seed in range(40):
        found = evaluate(*tables(400, 10 + seed, helps), options=options)
        said += row(found, "area_sign_error", "z", "effect")["upper"] < 0
    assert least <= said / 40 <= most


def test_effects_that_are_0_count_half_and_rounding_is_0() -> None:
    predicted, measured = tables(30)
    # Outputs of 0.5 in float32 are rounded by up to 5e-7.
    predicted = predicted.assign(ref_mean=0.5, alt_mean=0.5, ref_var=0.0, alt_var=0.0)
    predicted.loc[:9, ["effect_mean", "effect_sd"]] = [1e-8, 1e-9]
    predicted["prob_positive"] = 0.5 + 0.4 * np.sign(predicted["effect_mean"])
    predicted.loc[:9, "prob_positive"] = 1.0
    found = evaluate(predicted, measured, options=QUICK)
    assert found.n_predicted_zero == 10
    rest = predicted[10:].merge(measured, on="variant")
    right = (np.sign(rest["effect_mean"]) == np.sign(rest["effect"])).sum()
    assert row(found, "sign_accuracy")["value"] == pytest.approx((right + 5) / 30)
    # They are last by |effect|, |z| and P(sign), and first by sd.
    again = evaluate(predicted, measured, options=EvaluationOptions(n_bootstrap=100, coverage=2 / 3))
    for order in ("effect", "z", "sign"):
        kept = row(again, "sign_accuracy", order, coverage=2 / 3)["value"]
        assert kept == pytest.approx(right / 20)
    assert row(found, "sign_accuracy", "sd", coverage=0.3)["value"] == pytest.approx(0.5, abs=0.06)


def test_measured_effects_without_a_sign_are_left_out_of_signs_alone() -> None:
    predicted, measured = tables(60)
    measured.loc[measured.index[:7], "effect"] = 0.0
    found = evaluate(predicted, measured, options=QUICK)
    assert found.n_without_sign == 7
    assert row(found, "sign_accuracy")["n"] == 53
    assert row(found, "pearson")["n"] == 60
    strong = evaluate(predicted, measured, options=EvaluationOptions(n_bootstrap=100, min_measured=1.0))
    assert strong.n_without_sign == (measured["effect"].abs() <= 1).sum()


def test_labels_alone_are_enough() -> None:
    predicted, measured = tables(90)
    found = evaluate(predicted, measured.drop(columns="effect"), label="large", options=QUICK)
    assert set(found.table["quantity"]) == {"auprc", "label_share"}
    assert found.line is None
    assert all("auPRC" in sentence for sentence in found.sentences)
    words = measured.assign(large=measured["large"].map({0: "No", 1: " yes"}))
    again = evaluate(predicted, words.drop(columns="effect"), label="large", options=QUICK)
    pd.testing.assert_frame_equal(found.table, again.table)


def test_clusters_come_from_a_column_or_from_places() -> None:
    predicted, measured = tables(300)
    assert evaluate(predicted, measured, options=QUICK).n_clusters == 5  # 100 bp
    wide = EvaluationOptions(n_bootstrap=100, block_bp=1)
    assert evaluate(predicted, measured, options=wide).n_clusters == 100
    measured["element"] = np.arange(300) % 30
    found = evaluate(predicted, measured, cluster="element", options=QUICK)
    assert found.n_clusters == 30
    assert found.cautions == ()
    predicted, measured = (
        t.assign(variant=t["variant"].str.replace(":", "_")) for t in (predicted, measured)
    )
    found = evaluate(predicted, measured, options=QUICK)
    assert found.n_clusters == 300
    assert [caution.code for caution in found.cautions] == ["no_places"]


def test_cautions_have_names() -> None:
    predicted, measured = tables(200)
    opposite = evaluate(predicted, measured.assign(effect=-measured["effect"]), options=QUICK)
    assert [c.code for c in opposite.cautions] == ["negative_correlation", "few_clusters"]
    shuffled = measured.assign(effect=np.random.default_rng(0).permutation(measured["effect"]))
    assert "no_correlation" in [c.code for c in evaluate(predicted, shuffled, options=QUICK).cautions]
    predicted.loc[:120, ["effect_mean", "effect_sd"]] = 0.0
    few = measured.assign(large=measured["effect"] > measured["effect"].nlargest(5).iloc[-1])
    codes = [c.code for c in evaluate(predicted, few, label="large", options=QUICK).cautions]
    assert {"mostly_zero", "few_labels"} <= set(codes)


def test_one_part_of_the_sd_of_members() -> None:
    predicted, measured = tables(200)
    parts = predicted.assign(effect_sd_within=predicted["effect_sd"], effect_sd=1.0)
    options = EvaluationOptions(n_bootstrap=100, sd="within")
    found = evaluate(parts, measured, options=options)
    total = evaluate(predicted, measured, options=EvaluationOptions(n_bootstrap=100))
    for quantity, coverage in (("area_sign_error", 1), ("sign_accuracy", 0.5)):
        pair = [row(x, quantity, "z", coverage=coverage)["value"] for x in (found, total)]
        assert pair[0] == pair[1]
    assert "sign" not in set(found.table["order"])  # the draws' signs are those of the total
    with pytest.raises(InputError, match="one member alone"):
        evaluate(predicted, measured, options=options)


class Scored:
    """Stands for Effects with two outputs and three scores."""

    def table(self, outputs: Any = None, score: str | None = None) -> pd.DataFrame:
        parts = [
            tables(60)[0].assign(output=output, score=name)
            for output in (("a", "b") if outputs is None else (outputs,))
            for name in (("diff", "logit", "deepsea_effect") if score is None else (score,))
        ]
        return pd.concat(parts, ignore_index=True)


def test_effects_of_several_outputs_and_scores() -> None:
    measured = tables(60)[1]
    found = mcd.evaluate(Scored(), measured, target="b", score="logit", options=QUICK)
    assert (found.target, found.score, found.n) == ("b", "logit", 60)
    with pytest.raises(InputError, match="one output is required, of a, b; got None"):
        evaluate(Scored(), measured, score="diff")
    with pytest.raises(InputError, match="one score is required, of diff, logit, deepsea_effect"):
        evaluate(Scored(), measured, target="a")
    with pytest.raises(InputError, match=r"deepsea_effect is a product of magnitudes and has no sign"):
        evaluate(Scored(), measured, target="a", score="deepsea_effect")
    with pytest.raises(InputError, match="one score is required"):
        evaluate(Scored().table(), measured, target="a", score="ref")


def _change(which: str, column: str, value: Any, n: int = 60) -> Any:
    def change(predicted: pd.DataFrame, measured: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        table = predicted if which == "predicted" else measured
        table[column] = table[column].astype(object) if isinstance(value, str) else table[column]
        table.loc[table.index[:n], column] = value
        return predicted, measured

    return change


BAD = {
    "none in common": (_change("measured", "variant", "x"), "each variant may occur once"),
    "other names": (
        lambda p, m: (p, m.assign(variant="chr" + m["variant"])),
        "0 are. Measured names look like 'chrchr1:",
    ),
    "few": (lambda p, m: (p[:9], m), "at least 10 variants in both tables are required; 9 are"),
    "constant measured": (_change("measured", "effect", 2.0), "measured effects that differ .* are 2"),
    "constant predicted": (
        _change("predicted", "effect_mean", 0.0), "predicted effects that differ .* all 60 are 0",
    ),
    "NaN measured": (_change("measured", "effect", np.nan, 1), "not for 1 variants"),
    "NaN sd": (_change("predicted", "effect_sd", np.nan, 59), "finite; they are not for 59 variants"),
    "no draws": (_change("predicted", "effect_sd", np.nan), "requires effects with an sd"),
    "one class": (_change("measured", "large", 1), "labels of both kinds .* all 60 .* are 1"),
    "word": (_change("measured", "large", "maybe", 2), "2 of the column large are not, first: 'maybe'"),
    "NaN label": (_change("measured", "large", np.nan, 1), "1 of the column large are not"),
    "no label": (lambda p, m: (p, m.drop(columns="large")), "lacks large"),
    "no effect": (lambda p, m: (p.drop(columns="effect_sd"), m), "lacks effect_sd"),
    "no sign": (lambda p, m: (p, m.assign(effect=np.where(m["effect"] > 2, 3.0, 0.0))), "than 0 are"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case: str) -> None:
    change, message = BAD[case]
    with pytest.raises(InputError, match=message):
        evaluate(*change(*tables(60)), label="large", options=QUICK)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"coverage": 1.0}, "coverage must lie between 0 and 1; got 1.0"),
        ({"level": 0.0}, "level must lie"),
        ({"min_measured": -1.0}, "min_measured must be 0 or more"),
        ({"block_bp": 0}, "block_bp must be 1 or more; got 0"),
        ({"n_bootstrap": 99}, "n_bootstrap must be 100 or more"),
        ({"sd": "all"}, "sd must be total, within or between; got 'all'"),
    ],
)
def test_options_check_themselves(words: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EvaluationOptions(**words)


def test_a_path_is_no_table() -> None:
    with pytest.raises(InputError, match=r"must be a table .* got str"):
        evaluate(tables(60)[0], "measured.tsv")  # type: ignore[arg-type]
    measured = tables(60)[1].assign(element=[None, *["a"] * 59])
    with pytest.raises(InputError, match="must name the cluster of every variant; 1 have none"):
        evaluate(tables(60)[0], measured, cluster="element")
