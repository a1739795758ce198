"""Numbers as people read them, and what is said in words, by known answers."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_world import record_of

from kipoi_mcdropout.mr import diagnose
from kipoi_mcdropout.mr.estimators.methods import METHODS
from kipoi_mcdropout.reports import story
from kipoi_mcdropout.reports.mr_words import METHOD_WORDS, WARNING_WORDS, warning_words
from kipoi_mcdropout.reports.numbers import decimals, fixed, p_value, percent, significant
from kipoi_mcdropout.reports.tables import interval_cells

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "spread", "places"),
    [
        ([0.512, -0.031, 0.22], [], 3),
        ([0.512], [0.0012], 4),
        ([123.4], [], 0),
        ([1e-9], [], None),
        ([], [], 0),
        ([0.0, NAN], [], 0),
    ],
)
def test_decimals(values: list[float], spread: list[float], places: int | None) -> None:
    assert decimals(values, spread=spread) == places


@given(st.floats(1e-6, 1e6))
def test_decimals_show_three_digits(value: float) -> None:
    places = decimals([value])
    shown = f"{value:.2e}" if places is None else fixed(value, places)
    assert float(shown) == pytest.approx(value, rel=0.00501)


def test_fixed() -> None:
    assert fixed(0.12345, 3) == "0.123"
    assert fixed(-0.5, 2) == "-0.50"
    assert fixed(0.0, 3) == "0"
    assert fixed(0.0001, 2) == "1e-04"  # never a small effect as none
    assert fixed(NAN, 2) == fixed(None, 2) == fixed(math.inf, 2) == "\u2013"
    assert fixed(3e-9, None) == "3.00e-09"


def test_p_percent_and_significant() -> None:
    assert [p_value(p) for p in (0.5, 0.001, 0.00012)] == ["0.500", "0.001", "1.2e-04"]
    assert [percent(s) for s in (0.182, 0.05, 0.0, 1.0)] == ["18 %", "5.0 %", "0 %", "100 %"]
    assert [significant(v) for v in (12345.0, 0.70812, 263, NAN)] == ["12,345", "0.708", "263", "\u2013"]


def test_intervals_lie_on_one_axis_with_zero() -> None:
    cells = interval_cells([-1.0, 1.0, NAN], [0.0, 2.0, 0.0], [1.0, 3.0, 1.0])
    assert cells[0].drawing == (0.0, 0.25, 0.5, 0.25)
    assert cells[1].drawing == (0.5, 0.75, 1.0, 0.25)
    assert cells[2].drawing is None
    assert interval_cells([0.0], [0.0], [0.0])[0].drawing == (0.0, 0.0, 0.0, 0.0)


def test_every_method_and_warning_of_mr_has_words() -> None:
    assert set(METHOD_WORDS) == set(METHODS)
    documented = (diagnose.__doc__ or "").split("Codes: ")[1].split(".")[0]
    assert set(WARNING_WORDS) == set(re.findall(r"``(\w+)``", documented))


def test_words_of_a_warning_have_the_numbers_of_the_row() -> None:
    row = {"f_mean": 3.41, "i2_gx": 0.25, "n_draws": 16, "n_instruments": 7, "se_type": "sd"}
    assert "mean F is 3.41" in warning_words("weak_instruments", row)
    assert "by the sd over draws" in warning_words("weak_instruments", row)
    assert "75 %" in warning_words("low_i2_gx", row)
    assert "16 draws" in warning_words("mcse_large", row)
    assert "25 %" in warning_words("mcse_large", row)
    assert "7 instruments" in warning_words("few_instruments", row)
    for code in WARNING_WORDS:  # nor does a missing number break the sentence
        assert "nan" not in warning_words(code, {"f_mean": NAN, "i2_gx": NAN, "n_draws": NAN})
    assert "kipoi mcdropout mr" in warning_words("a_new_one", row)


def test_the_run_in_sentences() -> None:
    text = " ".join(story.story(record_of(), "ism"))
    for part in ("a/model", "kipoi_mcdropout 0.1.0", "PyTorch 2.13.0", "2 January 2026 at 03:04 UTC"):
        assert part in text
    for part in ("30 draws", "seed 7", "1 site:", "all sequences of a draw share their masks"):
        assert part in text
    assert story.command_line(record_of()) == "kipoi mcdropout ism 'a model' -o x.h5"
    assert story.command_line(record_of(command=None)) is None


def test_what_a_vcf_run_adds_to_the_sentences() -> None:
    options = {"info_prefix": "MCD", "scores": ["diff", "logit"], "length": 1000, "rc": True}
    options |= {"shifts": [-1, 0, 1], "normalize": True, "region": "chr1:1-9", "targets": ["a", "b"]}
    text = " ".join(story.story(record_of(options=options), "variants"))
    for part in ("Windows of 1000 bases", "both strands", "shifts of -1, 0, 1 bp", "left-aligned"):
        assert part in text
    for part in ("Every ALT allele", "chr1:1-9", "Scores: diff, logit", "Outputs: a, b"):
        assert part in text


def test_no_draws_in_a_sentence() -> None:
    assert "no uncertainty" in " ".join(story.story(record_of(0, sites=[]), "ism"))
