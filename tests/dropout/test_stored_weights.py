"""Weights in a file that memory mirrors are the same weights; let go, they take no memory."""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from resident import resident_bytes
from torch import nn

from kipoi_mcdropout.dropout.borrow import borrowed
from kipoi_mcdropout.dropout.stored_weights import is_stored, let_go, store_weights, weights_bytes


def _net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv1d(4, 5, 3),
            nn.BatchNorm1d(5),
            nn.Flatten(),
            nn.Linear(5 * 98, 700),
            nn.Linear(700, 3),
        )


def test_the_same_weights_in_the_same_objects() -> None:
    net, other = _net(), _net()
    before = dict(net.named_parameters())
    x = torch.randn(2, 4, 100)
    expected = net.eval()(x)
    assert store_weights(net)
    assert is_stored(net)
    assert not is_stored(other)
    assert all(net.get_parameter(name) is x for name, x in before.items())
    for (name, a), (_, b) in zip(net.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
        assert (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)
    let_go(net)
    assert torch.equal(net(x), expected)
    net(x).sum().backward()
    assert net[3].weight.grad is not None, "it can be trained"


def test_what_is_written_into_weights_that_were_let_go_stays() -> None:
    net = _net()
    store_weights(net)
    with torch.no_grad():
        net[3].weight.fill_(7)
        net[1].running_mean.fill_(2)
    let_go(net)
    assert (net[3].weight == 7).all()
    assert (net[1].running_mean == 2).all()
    assert weights_bytes(net) == sum(4 * p.numel() for p in net.parameters()) + 4 * 10 + 8


def test_weights_that_share_memory_go_on_sharing_it() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    net[2].weight.data = net[0].weight.data.t()
    store_weights(net)
    with torch.no_grad():
        net[0].weight[0, 1] = 5
    assert net[1].weight[0, 1] == net[2].weight[1, 0] == 5


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux says what is in memory")
def test_weights_are_in_memory_only_while_the_network_is_used() -> None:
    net = _net()
    store_weights(net)
    assert resident_bytes(net) == 0
    with borrowed(net):
        net(torch.randn(1, 4, 100))
        assert resident_bytes(net) >= 4 * 700 * 490
    assert resident_bytes(net) == 0


def test_the_memory_of_the_weights_is_free() -> None:
    net = nn.Linear(3, 2)
    values = np.ones((2, 3), np.float32)
    net.weight.data = torch.from_numpy(values)
    alive = weakref.ref(values)
    del values
    assert alive() is not None
    store_weights(net)
    assert alive() is None


class _Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.eye(3).to_sparse())


@pytest.mark.parametrize("net", [_Sparse(), nn.ReLU(), nn.LazyLinear(3)])
def test_what_cannot_be_stored_stays_as_it_is(net: nn.Module) -> None:
    assert not store_weights(net)
    assert not is_stored(net)


@pytest.mark.filterwarnings("ignore:`torch.jit.script")
def test_torchscript_stays_as_it_is() -> None:
    assert not store_weights(torch.jit.script(nn.Linear(2, 2)))


def test_without_room_the_weights_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    net = _net()
    places = [p.data_ptr() for p in net.parameters()]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(OSError, match="No space"):
        store_weights(net)
    assert [p.data_ptr() for p in net.parameters()] == places
