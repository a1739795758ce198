"""The shape of a network's input is found by running it, or asked for by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError


class Swapped(nn.Module):
    """Takes (length, 4), as Keras-like code does."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(1, 2))


def fixed(length: int, pool: int = 1) -> nn.Sequential:
    """A network of one length: convolution of 5, pooling, a dense layer."""
    after = (length - 4) // pool
    return nn.Sequential(
        nn.Conv1d(4, 3, 5), nn.MaxPool1d(pool), nn.Flatten(), nn.Dropout(0.3), nn.Linear(3 * after, 2)
    )


def two_dimensional(kernel: tuple[int, int], channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 3, kernel), nn.Flatten(), nn.Dropout(0.3), nn.Linear(3 * 96, 2)
    )


FOUND = {
    "(4, L)": (lambda: fixed(317), (4, 317)),
    "longer than the first guess": (lambda: fixed(4001), (4, 4001)),
    "(L, 4)": (lambda: Swapped(fixed(200)), (200, 4)),
    "(4, 1, L)": (lambda: two_dimensional((1, 5), 4), (4, 1, 100)),
    "(1, 4, L)": (lambda: two_dimensional((4, 5), 1), (1, 4, 100)),
}


@pytest.mark.parametrize("case", FOUND)
def test_the_only_shape_that_fits_is_found(case: str) -> None:
    make, shape = FOUND[case]
    assert mcd.Model(make()).sequences.layout.shape == shape
    assert mcd.Model(make()).example().shape == (1, *shape)


def test_several_lengths_are_named_and_not_chosen() -> None:
    """(204 - 4) // 5 = 40, and so of all lengths to 208."""
    net = fixed(204, pool=5)
    for length in (203, 204, 208, 209):  # by torch itself
        runs = True
        try:
            net(torch.zeros(2, 4, length))
        except RuntimeError:
            runs = False
        assert runs == (204 <= length <= 208)
    with pytest.raises(InputError, match=r"windows of 204 to 208 bp, of shape \(4, length\).*--length"):
        _ = mcd.Model(net).sequences
    assert mcd.Model(net, length=206).sequences.layout.shape == (4, 206)


def test_any_length_is_asked_for() -> None:
    net = nn.Sequential(nn.Conv1d(4, 3, 5), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Dropout(0.5))
    with pytest.raises(InputError, match=r"windows of any length, of shape \(4, length\)"):
        _ = mcd.Model(net).sequences
    assert mcd.Model(net, length=77).sequences.layout.shape == (4, 77)


def test_two_layouts_are_asked_for_and_the_axis_decides() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(120, 2))
    with pytest.raises(InputError, match=r"shape \(4, 30\) and \(30, 4\).*input_shape"):
        _ = mcd.Model(net, length=30).sequences
    assert mcd.Model(net, category_axis=1).sequences.layout.shape == (30, 4)


@pytest.mark.parametrize(
    ("net", "settings", "message"),
    [
        (lambda: fixed(30), {"length": 50}, r"\(4, 50\) gives 138 numbers to a linear layer of 78"),
        (lambda: nn.Embedding(5, 3), {}, "cannot be found out; give input_shape"),
        (lambda: fixed(30), {"category_axis": 1, "length": 30}, r"Tried: \(30, 4\) fails"),
    ],
)
def test_what_was_tried_is_said(net: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _ = mcd.Model(net(), **settings).sequences


def test_the_network_is_as_before() -> None:
    net = Swapped(nn.Sequential(nn.BatchNorm1d(4), fixed(200)))
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    _ = mcd.Model(net).sequences
    assert all(part.training for part in net.modules())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not any(part._forward_pre_hooks for part in net.modules())
