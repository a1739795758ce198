"""Moments and co-moments over draws, against numpy in float64, at n = 1 and after any split."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kipoi_mcdropout.arrays.moments import Moments, PairedMoments, sum_of_draws


def _draws(n: int, seed: int, offset: float) -> torch.Tensor:
    return offset + torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 3, 2)))


@given(n=st.integers(2, 40), data=st.data(), seed=st.integers(0, 99), offset=st.sampled_from([0.0, 1e6]))
def test_any_split_gives_the_moments_of_the_whole(
    n: int, data: st.DataObject, seed: int, offset: float
) -> None:
    x = _draws(n, seed, offset)
    cuts = sorted(data.draw(st.lists(st.integers(1, n - 1), unique=True)))
    blocks = torch.tensor_split(x, cuts)
    merged = Moments.of(blocks[0])
    for block in blocks[1:]:
        merged = merged.merge(Moments.of(block))
    assert merged.n == n
    # Draws that cancel leave a mean near 0, and the rounding of its terms.
    np.testing.assert_allclose(merged.mean, x.numpy().mean(0), rtol=0, atol=1e-14 * float(x.abs().max()))
    np.testing.assert_allclose(merged.variance(), x.numpy().var(0, ddof=1), rtol=1e-8)
    np.testing.assert_allclose(merged.mcse(), x.numpy().std(0, ddof=1) / np.sqrt(n), rtol=1e-8)


def test_variance_survives_a_large_mean() -> None:
    x = torch.tensor([[1e8 + 1], [1e8 + 2], [1e8 + 3]], dtype=torch.float64)
    merged = Moments.of(x[:1]).merge(Moments.of(x[1:]))
    assert merged.variance().item() == pytest.approx(1.0, abs=1e-7)


def test_one_draw_has_no_variance() -> None:
    one = Moments.of(torch.ones(1, 3))
    assert one.mean.tolist() == [1, 1, 1]
    assert torch.isnan(one.variance()).all()
    pair = PairedMoments.of(torch.ones(1, 1, 2), torch.ones(1, 3, 2), torch.zeros(3, dtype=torch.int64))
    assert torch.isnan(pair.covariance()).all()


@given(n=st.integers(2, 30), cut=st.integers(1, 29), seed=st.integers(0, 99))
def test_covariance_of_each_mutant_with_its_own_reference(n: int, cut: int, seed: int) -> None:
    ref, alt = _draws(n, seed, 5.0)[:, :2], _draws(n, seed + 1, 2.0)
    owner = torch.tensor([1, 0, 1])
    cut = min(cut, n - 1)
    merged = PairedMoments.of(ref[:cut], alt[:cut], owner).merge(
        PairedMoments.of(ref[cut:], alt[cut:], owner)
    )
    for m, r in enumerate(owner.tolist()):
        for o in range(2):
            expected = np.cov(ref[:, r, o], alt[:, m, o], ddof=1)
            assert merged.covariance()[m, o].item() == pytest.approx(expected[0, 1], abs=1e-12)
            assert merged.ref.variance()[r, o].item() == pytest.approx(expected[0, 0], abs=1e-12)


def test_float32_draws_are_accumulated_in_float64() -> None:
    x = torch.full((1000, 1), 0.1, dtype=torch.float32)
    merged = Moments.of(x[:1])
    for i in range(1, 1000):
        merged = merged.merge(Moments.of(x[i : i + 1]))
    assert merged.mean.item() == pytest.approx(float(x[0]), rel=1e-14)
    assert merged.variance().item() == 0.0


@pytest.mark.parametrize("n", range(1, 18))
def test_a_sum_of_draws_is_the_same_wherever_it_lies(n: int) -> None:
    x = torch.rand(n, 5, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    before = x.clone()
    whole = sum_of_draws(x)
    assert torch.equal(x, before)
    exact = [[math.fsum(x[:, i, j].tolist()) for j in range(13)] for i in range(5)]
    np.testing.assert_allclose(whole, exact, rtol=1e-15)
    for i in range(5):
        for j in range(13):
            assert sum_of_draws(x[:, i : i + 1, j : j + 1]).item() == whole[i, j].item()
