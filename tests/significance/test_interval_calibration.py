"""Calibrations of intervals: made, kept as plain values, applied, and refused where they do not fit."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from interval_world import RECORD, tables
from numpy.testing import assert_allclose, assert_array_equal

from kipoi_mcdropout.effects.columns import INTERVAL_STATISTICS
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.significance.add_intervals import ConformalOptions, add_intervals, with_conformal
from kipoi_mcdropout.significance.interval_calibration import IntervalCalibration, calibrate_intervals


def made(**how: Any) -> IntervalCalibration:
    return calibrate_intervals(*tables(), RECORD, **how)


def inside(calibration: IntervalCalibration, seed: int, **how: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which new measurements lie in their intervals, and the size of the predicted effects."""
    measured, predicted = tables(seed=seed, **how)
    effect = measured.set_index("variant")["effect"].loc[predicted["variant"]].to_numpy()
    found = calibration.intervals(predicted["effect_mean"], predicted["effect_sd"])
    return (found.lower <= effect) & (effect <= found.upper), np.abs(predicted["effect_mean"].to_numpy())


def test_intervals_hold_new_measurements_small_and_large() -> None:
    calibration = calibrate_intervals(*tables(n=20_000), RECORD, bins=[0.5])
    held, size = inside(calibration, 1, n=20_000)
    for rows in (size <= 0.5, size > 0.5):
        n = rows.sum()
        assert held[rows].mean() == pytest.approx(0.95, abs=4 * np.sqrt(2 * 0.95 * 0.05 / n))


def test_the_normal_interval_does_not_hold_them() -> None:
    """What the calibration is for: 1.96 sd holds too few of the large effects."""
    measured, predicted = tables(n=20_000)
    both = predicted.merge(measured, on="variant")
    error = (both["effect"] - both["effect_mean"]).abs()
    assert (error <= 1.96 * both["effect_sd"])[both["effect_mean"].abs() > 0.5].mean() < 0.7


def test_shifted_measurements_are_not_held() -> None:
    held, _ = inside(made(), 1, scale=2.0)
    assert held.mean() < 0.85


def test_the_probability_of_the_sign_is_the_share_of_right_signs() -> None:
    calibration = calibrate_intervals(*tables(n=20_000), RECORD)
    measured, predicted = tables(n=20_000, seed=1)
    both = predicted.merge(measured, on="variant")
    right = (np.sign(both["effect"]) == np.sign(both["effect_mean"])).to_numpy()
    probability = calibration.intervals(both["effect_mean"], both["effect_sd"]).sign_probability
    for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 1.0)):
        rows = (probability >= low) & (probability < high)
        assert rows.sum() > 1000
        assert right[rows].mean() == pytest.approx(probability[rows].mean(), abs=0.03)


def test_an_sd_of_0_has_an_interval_too() -> None:
    measured, predicted = tables()
    rows = predicted["variant"].isin(measured["variant"][:500])
    predicted.loc[rows, ["effect_mean", "effect_sd"]] = 0.0
    calibration = calibrate_intervals(measured, predicted, RECORD)
    assert calibration.n == 2000
    found = calibration.intervals([0.0], [0.0])
    assert found.lower[0] < 0 < found.upper[0]
    assert found.sign_probability[0] == 0.5  # no sign is predicted
    signs = calibrate_intervals(measured[500:], predicted, RECORD).sign
    assert_array_equal(calibration.sign.upper, signs.upper)


def test_a_line_puts_the_intervals_on_the_measured_scale() -> None:
    measured, predicted = tables()
    stretched = measured.assign(effect=3 + 10 * measured["effect"])
    one, other = (
        calibrate_intervals(m, predicted, RECORD, align="linear") for m in (measured, stretched)
    )
    ends = [c.intervals(predicted["effect_mean"], predicted["effect_sd"]) for c in (one, other)]
    assert_allclose(ends[1].lower, 3 + 10 * ends[0].lower)
    assert_allclose(ends[1].upper, 3 + 10 * ends[0].upper)


def test_it_comes_back_from_json_the_same() -> None:
    one = made(made={"command": ["calibrate"]})
    other = IntervalCalibration.from_dict(json.loads(json.dumps(one.to_dict(), allow_nan=False)))
    assert other.to_dict() == one.to_dict()
    mean, sd = np.linspace(-3, 3, 50), np.linspace(0, 1, 50)
    for level in (0.5, 0.95):
        assert_array_equal(other.intervals(mean, sd, level), one.intervals(mean, sd, level))


def test_what_is_missing_has_no_interval() -> None:
    found = made().intervals([np.nan, 1.0], [1.0, np.nan])
    assert np.isnan(np.array(found)).all()


def changed(**parts: Any) -> dict[str, Any]:
    record = copy.deepcopy(RECORD)
    for name, value in parts.items():
        home = record["model"] if name.endswith("sha256") else record
        home[name] = value
    return record


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (changed(weights_sha256="other"), "is of the model toy .*Calibrate with a result of this model"),
        (changed(code_sha256="other"), "is of the model toy"),
        (changed(members=[RECORD["model"], {**RECORD["model"], "weights_sha256": "2"}]), "of the model"),
        (changed(options={"scores": ["logit"]}), "score diff.*the result has the scores logit"),
        (changed(options={"scores": ["diff"], "rc": True}), "with rc False; the result has rc True"),
        (changed(options={"scores": ["diff"], "shifts": [0, 1]}), "shifts"),
        (changed(options={"scores": ["diff"], "until": 0.15}), "until None; the result has until 0.1"),
        (changed(options={"scores": ["diff"], "ignore": ["drop1"]}), r"has ignore \['drop1'\]"),
        (changed(options={"scores": ["diff"], "dtype": "bfloat16"}), "has dtype bfloat16"),
        (changed(n_draws=0), "the result has no draws"),
        (changed(model={"name": "toy"}), "does not say which model made it"),
    ],
)
def test_a_calibration_of_something_else_is_refused(record: dict[str, Any], words: str) -> None:
    options = ConformalOptions((made(),))
    with pytest.raises(InputError, match=words):
        add_intervals(tables()[1], record, options)


def test_options_of_another_score_do_not_matter() -> None:
    more = {"scores": ["diff", "log2fc"], "pseudocount": 1.0, "score_functions_sha256": {"own": "1"}}
    ConformalOptions((made(),)).check_fits(changed(options=more), ["DNase"])
    of_log2 = tables()[1].assign(score="log2fc")
    calibration = calibrate_intervals(tables()[0], of_log2, changed(options=more))
    with pytest.raises(InputError, match=r"with pseudocount 1.0; the result has pseudocount 0.5"):
        ConformalOptions((calibration,)).check_fits(
            changed(options={**more, "pseudocount": 0.5}), ["DNase"]
        )


def test_a_calibration_of_another_output_is_refused() -> None:
    with pytest.raises(InputError, match=r"output DNase.*the result has the outputs FOXA2"):
        add_intervals(tables()[1].assign(output="FOXA2"), RECORD, ConformalOptions((made(),)))


def test_members_are_the_same_in_any_order() -> None:
    two = [{**RECORD["model"], "weights_sha256": str(i)} for i in range(2)]
    calibration = calibrate_intervals(*tables(), changed(members=two))
    ConformalOptions((calibration,)).check_fits(changed(members=two[::-1]), ["DNase"])


def test_another_number_of_draws_is_warned_of() -> None:
    with pytest.warns(InputWarning, match="made with 30 draws; the result has 100"):
        ConformalOptions((made(),)).check_fits(changed(n_draws=100), ["DNase"])


def test_the_sd_of_members_is_used_where_it_was_calibrated() -> None:
    measured, predicted = tables()
    parts = predicted.assign(effect_sd_within=predicted["effect_sd"], effect_sd=9.0)
    calibration = calibrate_intervals(measured, parts, RECORD, sd="within")
    assert_array_equal(calibration.groups.half_widths, made().groups.half_widths)
    with pytest.raises(InputError, match="sd within members; the model has one member alone"):
        add_intervals(parts, RECORD, ConformalOptions((calibration,)))
    members = changed(members=[RECORD["model"]])
    table = add_intervals(parts, members, ConformalOptions((calibration,)))
    assert_array_equal(
        table["ci_lower"], calibration.intervals(parts["effect_mean"], predicted["effect_sd"]).lower
    )


def test_other_outputs_and_scores_get_no_numbers() -> None:
    predicted = tables(n=300)[1]
    both = pd.concat([predicted, predicted.assign(output="FOXA2"), predicted.assign(score="logit")])
    shuffled = both.sample(frac=1, random_state=0, ignore_index=True)
    calibration, record = made(), changed(options={"scores": ["diff", "logit"]})
    table = add_intervals(shuffled, record, ConformalOptions((calibration,), 0.9))
    mine = ((shuffled["output"] == "DNase") & (shuffled["score"] == "diff")).to_numpy()
    found = calibration.intervals(shuffled["effect_mean"][mine], shuffled["effect_sd"][mine], 0.9)
    for name, values in zip(INTERVAL_STATISTICS, found, strict=True):
        assert_array_equal(table[name][mine], values)
        assert table[name][~mine].isna().all()


def test_each_output_has_its_own_calibration() -> None:
    measured, predicted = tables()
    wide = measured.assign(effect=5 * measured["effect"])
    other = calibrate_intervals(wide, predicted.assign(output="FOXA2"), RECORD)
    options = ConformalOptions((made(), other))
    again = ConformalOptions.of_record(with_conformal(RECORD, options))
    assert again is not None
    assert again.to_dict() == options.to_dict()
    assert ConformalOptions.of_record(RECORD) is None
    mean, sd = np.ones((1, 3)), np.ones((1, 3))
    columns = again.columns("diff", ["FOXA2", "none", "DNase"], {"effect_mean": mean, "effect_sd": sd})
    half = (columns["ci_upper"] - columns["ci_lower"])[0] / 2
    assert half[0] > 2 * half[2]
    assert np.isnan(half[1])
    with pytest.raises(InputError, match="several are of DNase, score diff"):
        ConformalOptions((made(), made()))
    with pytest.raises(InputError, match="level must be one of"):
        ConformalOptions((made(),), 0.9511)


def test_a_result_with_intervals_is_not_given_others() -> None:
    options = ConformalOptions((made(),))
    table = add_intervals(tables()[1], RECORD, options)
    with pytest.raises(InputError, match="has the columns ci_lower, ci_upper, sign_probability"):
        add_intervals(table, RECORD, options)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"level": 1.0}, "level must lie between 0 and 1"),
        ({"level": 0.999}, "needs at least 999 measured effects; got 500"),
        ({"align": "spline"}, "align must be"),
        ({"sd": "within"}, "lacks effect_sd_within"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(how: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        calibrate_intervals(*tables(n=500), RECORD, **how)


def codes(calibration: IntervalCalibration) -> list[str]:
    return [caution.code for caution in calibration.cautions]


def test_cautions_name_intervals_that_say_nothing_and_few_sequences() -> None:
    assert codes(calibrate_intervals(*tables(n=20_000), RECORD, bins=[0.5])) == []
    assert codes(calibrate_intervals(*tables(n_sequences=8), RECORD, bins=[0.5])) == ["few_sequences"]
    measured, predicted = tables(n=20_000)
    unrelated = measured.assign(effect=np.random.default_rng(0).normal(0, 0.01, 20_000))
    calibration = calibrate_intervals(unrelated, predicted, RECORD, bins=[0.5])
    assert codes(calibration) == ["conformal_intervals_too_wide"]
    assert "in 2 of 2 groups; |effect| of 0.5 or more" in calibration.cautions[0].message
