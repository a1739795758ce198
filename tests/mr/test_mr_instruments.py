"""The record of instruments: what it refuses, keeps out, and how it flips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mr_data import from_draws, simulated
from numpy.testing import assert_allclose, assert_array_equal

from kipoi_mcdropout.errors import InputError, McDropoutError
from kipoi_mcdropout.mr import Instruments, covariance_of_draws, mr_ivw, outcome_correlation


def plain(**change: Any) -> Instruments:
    fields: dict[str, Any] = dict(
        snp=["a", "b", "c"],
        beta_exposure=[1.0, -2.0, 3.0],
        se_exposure=[0.1, 0.2, 0.3],
        beta_outcome=[0.5, -1.0, 1.6],
        se_outcome=[0.1, 0.1, 0.2],
        effect_allele=["A", "C", "G"],
        other_allele=["T", "G", "A"],
    )
    return Instruments(**(fields | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"snp": ["a", "b", "b"]}, "unique; 1 occur more than once, first: b"),
        ({"snp": []}, "at least one instrument"),
        ({"beta_exposure": [1.0, 2.0]}, r"beta_exposure .*shape \(3,\); got shape \(2,\)"),
        ({"beta_outcome": [1.0, np.nan, 2.0]}, "beta_outcome must be finite; 1 of 3.*first: b"),
        ({"se_exposure": [1.0, 1.0, np.inf]}, "se_exposure must be finite.*first: c"),
        ({"se_outcome": [1.0, -1.0, 1.0]}, "se_outcome must not be negative; it is in b"),
        ({"exposure": "X", "outcome": "X"}, "different outputs; both are 'X'"),
        ({"se_type": "se"}, "se_type must be 'sd', 'mcse' or None"),
        ({"se_type": "mcse"}, "requires n_draws"),
        ({"n_draws": 1}, "at least 2 draws"),
        ({"correlation": np.eye(2)}, r"shape \(3, 3\) is required"),
        ({"correlation": np.eye(3) * 2}, "ones on its diagonal"),
        ({"correlation": np.eye(3) + np.eye(3, k=1)}, "symmetric"),
        ({"draws_exposure": np.ones((4, 3))}, "of both"),
        ({"mr_keep": [True]}, "mr_keep must have one value per instrument"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plain(**change)


def test_draws_must_belong_to_the_effects() -> None:
    x, y = simulated().draws_exposure, simulated().draws_outcome
    assert x is not None
    assert y is not None
    with pytest.raises(InputError, match="draws of the exposure do not belong"):
        from_draws(x, y, draws_exposure=x[:, ::-1])
    with pytest.raises(InputError, match="shape"):
        from_draws(x, y, draws_outcome=y[:, 1:])
    with pytest.raises(InputError, match="finite"):
        from_draws(x, y, draws_outcome=np.where(np.arange(20) == 3, np.nan, y))
    with pytest.raises(InputError, match="one number of draws"):
        from_draws(x, y, n_draws=49)


def test_errors_are_of_the_package_and_arrays_cannot_be_changed() -> None:
    assert issubclass(InputError, McDropoutError)
    given_array = np.array([1.0, -2.0, 3.0])
    instruments = plain(beta_exposure=given_array)
    given_array[0] = 9.0
    assert instruments.beta_exposure[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        instruments.beta_exposure[0] = 5.0
    with pytest.raises(AttributeError):
        instruments.exposure = "other"  # type: ignore[misc]


def test_a_row_without_variance_is_kept_out_and_does_not_decide() -> None:
    x = np.linspace(0.1, 0.5, 9)
    se = np.full(10, 0.02)
    se[9] = 1e-8  # would draw the slope to its own ratio of 3
    instruments = Instruments(
        snp=[f"m{i}" for i in range(10)],
        beta_exposure=np.append(x, 0.3),
        se_exposure=np.full(10, 0.02),
        beta_outcome=np.append(x / 2, 0.9),
        se_outcome=se,
    )
    assert_array_equal(instruments.mr_keep, [True] * 9 + [False])
    assert instruments.reason[9] == "zero_variance_outcome"
    assert len(instruments) == 10
    assert instruments.n_kept == 9
    assert mr_ivw(instruments).estimate == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_zero_variance_is_relative_to_the_scale(scale: float) -> None:
    beta, se = np.array([1.0, 2.0, 3.0]) * scale, np.array([0.1, 1e-5, 1e-9]) * scale
    instruments = plain(beta_exposure=beta, se_exposure=se)
    assert_array_equal(instruments.mr_keep, [True, True, False])
    assert instruments.reason[2] == "zero_variance_exposure"


def test_a_subset_does_not_decide_anew_what_is_zero() -> None:
    # 1e-5 is kept out beside 1000, not beside 1; taken without the large row it must stay out
    instruments = plain(se_outcome=[1000.0, 1e-5, 1.0])
    assert_array_equal(instruments.take([1, 2]).mr_keep, [False, True])
    assert_array_equal(plain(se_outcome=[1.0, 1e-5, 1.0]).mr_keep, [True, True, True])


def test_nothing_left_counts_the_reasons() -> None:
    instruments = plain(se_outcome=[0.0, 0.0, 0.0])
    with pytest.raises(InputError, match=r"0 of 3 are left \(kept out: 3 zero_variance_outcome\)"):
        instruments.kept()


def test_take_keeps_rows_together() -> None:
    rho = np.array([[1, 0.1, 0.2], [0.1, 1, 0.3], [0.2, 0.3, 1]])
    part = plain(correlation=rho).take([2, 0])
    assert part.snp.tolist() == ["c", "a"]
    assert_array_equal(part.beta_outcome, [1.6, 0.5])
    assert_allclose(part.correlation, [[1, 0.2], [0.2, 1]])
    assert part.effect_allele is not None
    assert part.effect_allele.tolist() == ["G", "A"]


@given(mask=st.lists(st.booleans(), min_size=6, max_size=6))
def test_flipping_twice_is_nothing(mask: list[bool]) -> None:
    one = simulated(n=6, effect_allele=list("ACGTAC"), other_allele=list("CGTACG"))
    two = one.flip(mask).flip(mask)
    for name in ("beta_exposure", "beta_outcome", "draws_exposure", "effect_allele"):
        assert_array_equal(getattr(one, name), getattr(two, name))


def test_flip_and_orientation() -> None:
    rho = np.array([[1, 0.1, 0.2], [0.1, 1, 0.3], [0.2, 0.3, 1]])
    oriented = plain(correlation=rho).oriented()
    assert_array_equal(oriented.beta_exposure, [1.0, 2.0, 3.0])
    assert_array_equal(oriented.beta_outcome, [0.5, 1.0, 1.6])
    assert_allclose(oriented.correlation, [[1, -0.1, 0.2], [-0.1, 1, -0.3], [0.2, -0.3, 1]])
    assert oriented.effect_allele is not None
    assert oriented.effect_allele.tolist() == list("AGG")
    assert oriented.other_allele is not None
    assert oriented.other_allele.tolist() == list("TCA")


def test_sd_and_mcse_differ_by_the_root_of_draws() -> None:
    sd = simulated(n_draws=49)
    mcse = sd.with_se_type("mcse")
    assert_allclose(mcse.se_outcome * 7, sd.se_outcome)
    assert_allclose(mcse.with_se_type("sd").se_exposure, sd.se_exposure)
    assert mcse.se_type == "mcse"
    with pytest.raises(InputError, match="se_type and n_draws are known"):
        plain().with_se_type("mcse")


def test_reversed_exchanges_the_sides_and_their_reasons() -> None:
    one = plain(se_outcome=[0.1, 0.0, 0.2], exposure="X", outcome="Y")
    two = one.reversed()
    assert (two.exposure, two.outcome) == ("Y", "X")
    assert_array_equal(two.beta_exposure, one.beta_outcome)
    assert one.reason[1] == "zero_variance_outcome"
    assert two.reason[1] == "zero_variance_exposure"


def test_by_sequence_needs_sequences_and_keeps_their_order() -> None:
    with pytest.raises(InputError, match="sequence of each instrument"):
        plain().by_sequence()
    parts = plain(sequence=["s2", "s1", "s2"]).by_sequence()
    assert list(parts) == ["s2", "s1"]
    assert parts["s2"].snp.tolist() == ["a", "c"]


def test_correlation_comes_from_the_draws_and_must_be_invertible() -> None:
    few = simulated(n=5, n_draws=30)
    assert few.draws_outcome is not None
    assert_allclose(outcome_correlation(few), np.corrcoef(few.draws_outcome.T))
    with pytest.raises(InputError, match=r"30 instruments and 30 draws.*Select at most 29"):
        outcome_correlation(simulated(n=30, n_draws=30))
    assert outcome_correlation(simulated(n=29, n_draws=30)).shape == (29, 29)
    with pytest.raises(InputError, match="got neither"):
        outcome_correlation(plain())
    with pytest.raises(InputError, match="positive definite"):
        outcome_correlation(plain(correlation=np.ones((3, 3))))


def test_covariance_of_draws_is_numpys() -> None:
    one = simulated(n=4)
    assert one.draws_exposure is not None
    assert one.draws_outcome is not None
    both = np.cov(one.draws_exposure, one.draws_outcome, rowvar=False)
    found = covariance_of_draws(one)
    assert_allclose(found["xx"], both[:4, :4])
    assert_allclose(found["yy"], both[4:, 4:])
    assert_allclose(found["xy"], both[:4, 4:], atol=1e-12)


def test_a_row_is_taken_once() -> None:
    with pytest.raises(InputError, match="taken only once"):
        plain().take([0, 0])
