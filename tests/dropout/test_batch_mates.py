"""Models whose outputs depend on their batch mates are refused; what probing runs, and what it keeps."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kipoi_mcdropout import MCDropoutISM, audit, locked_forward, mc_predict
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.errors import (
    BatchDependenceError,
    ModelForwardError,
    UnlockableDropoutError,
)

SEED = 7
LENGTH = 10


class Net(nn.Module):
    """Flatten, linear, something, dropout, linear, on (4, 10)."""

    def __init__(self, between: Callable[[Any, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.between = between
        self.first = nn.Linear(4 * LENGTH, 6)
        for name, part in parts.items():
            self.add_module(name, part)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x.flatten(1)))
        return self.last(self.drop(self.between(self, h)))


def built(between: Callable[[Any, Tensor], Tensor], **parts: nn.Module) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return Net(between, **parts).eval()


def sequences(n: int) -> np.ndarray:
    codes = np.random.default_rng(5).integers(0, 4, (n, LENGTH))
    return np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1).copy()


class TrainingNorm(nn.Module):
    """Batch normalization by the batch's own statistics, whatever the mode."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True)


def sorted_by_size(_: Any, h: Tensor) -> Tensor:
    return h[h.sum(1).argsort()]  # and not sorted back


DEPENDENT = {
    "no running statistics": (
        lambda: built(lambda s, h: s.norm(h), norm=nn.BatchNorm1d(6, track_running_stats=False)),
        r"module 'norm' \(BatchNorm1d\), which takes its statistics from the batch",
    ),
    "training mode": (
        lambda: built(lambda s, h: s.norm(h), norm=TrainingNorm()),
        r"module 'norm' \(TrainingNorm\)",
    ),
    "less the mean": (
        lambda: built(lambda _, h: h - h.mean(0)),
        r"code of module 'Net' \(Net\), before its part 'drop'",
    ),
    "softmax over the batch": (
        lambda: built(lambda s, h: s.gate(h) * h, gate=nn.Softmax(dim=0)),
        r"module 'gate' \(Softmax\)",
    ),
    "sorted": (lambda: built(sorted_by_size), "before its part 'drop'"),
    "shared maximum": (lambda: built(lambda _, h: h / h.max()), "before its part 'drop'"),
    "size of the batch": (lambda: built(lambda _, h: h / len(h)), "the number of inputs in it"),
}


@pytest.fixture(params=DEPENDENT)
def dependent(request: pytest.FixtureRequest) -> tuple[Net, str]:
    make, words = DEPENDENT[request.param]
    return make(), words


def test_outputs_that_depend_on_batch_mates_are_refused_by_name(dependent: tuple[Net, str]) -> None:
    net, words = dependent
    with pytest.raises(BatchDependenceError, match=words) as error:
        mc_predict(net, sequences(6), n_draws=3)
    assert "engine" not in str(error.value)
    assert "\n" not in str(error.value)


PATHS: dict[str, Callable[[nn.Module, np.ndarray], Any]] = {
    "audit": lambda net, x: audit(net, x),
    "a draw": lambda net, x: locked_forward(net, torch.from_numpy(x), 0, SEED),
    "the point": lambda net, x: locked_forward(net, torch.from_numpy(x), POINT, SEED),
    "effects": lambda net, x: MCDropoutISM(net, None, category_axis=0, n_draws=3).score(x),
    "effects, full": lambda net, x: MCDropoutISM(
        net, None, category_axis=0, n_draws=3, engine="full"
    ).score(x),
    "effects without draws": lambda net, x: MCDropoutISM(net, None, category_axis=0, n_draws=0).score(x),
}


@pytest.mark.parametrize("path", PATHS)
def test_every_way_into_the_model_checks_it(path: str) -> None:
    net = built(lambda _, h: h - h.mean(0))
    with pytest.raises(BatchDependenceError, match="Net"):
        PATHS[path](net, sequences(2))
    PATHS[path](built(lambda _, h: h), sequences(2))


INDEPENDENT: dict[str, Callable[[], Net]] = {
    "batch norm": lambda: built(lambda s, h: s.norm(h), norm=nn.BatchNorm1d(6)),
    "layer norm": lambda: built(lambda s, h: s.norm(h), norm=nn.LayerNorm(6)),
    "instance norm": lambda: built(
        lambda s, h: s.norm(h.view(-1, 2, 3)).flatten(1), norm=nn.InstanceNorm1d(2)
    ),
    "sorted and back": lambda: built(lambda s, h: sorted_by_size(s, h)[h.sum(1).argsort().argsort()]),
    "large numbers": lambda: built(lambda _, h: 1e6 * h - 1e6),
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_rows_are_not_refused(name: str) -> None:
    result = mc_predict(INDEPENDENT[name](), sequences(5), n_draws=3)
    alone = mc_predict(INDEPENDENT[name](), sequences(5)[2:3], n_draws=3)
    scale = np.abs(result.mean).max()
    np.testing.assert_allclose(result.mean[2:3], alone.mean, atol=1e-5 * scale)


def test_randomness_of_evaluation_mode_is_no_batch_mate() -> None:
    noisy = built(lambda s, h: s.noise(h), noise=Noise())
    model = LockedModel(noisy)
    with model.borrow(), pytest.raises(UnlockableDropoutError, match="'noise'"):
        model.outputs(torch.from_numpy(sequences(2)), POINT, MaskBank(SEED))


class Noise(nn.Module):
    """Random in every mode."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.empty_like(x).exponential_()


# --- batches of one, and of a fixed size ----------------------------------------------------------


def sizes_of_batches(net: nn.Module) -> list[int]:
    sizes: list[int] = []
    net.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    return sizes


def test_a_batch_of_one_is_run_as_one() -> None:
    net = built(lambda _, h: h)
    sizes, model, x = sizes_of_batches(net), LockedModel(net), torch.from_numpy(sequences(4))
    with model.borrow():
        plan = model.plan(x)
        assert plan.takes_one
        assert max(sizes) == 2
        sizes.clear()
        alone = [model.outputs(x[:1], draw, MaskBank(SEED)) for draw in (POINT, 0, 1)]
        assert sizes == [1, 1, 1]
        together = [model.outputs(x, draw, MaskBank(SEED))[:1] for draw in (POINT, 0, 1)]
    torch.testing.assert_close(alone, together)


@pytest.mark.parametrize(
    "between",
    [
        lambda _, h: h.squeeze(),  # one axis for a batch of one: the output has no batch
        lambda _, h: torch.softmax(h.squeeze(), dim=-1).view(-1, 6),  # the output is right
        lambda _, h: F.softmax(h.squeeze(), dim=0 if len(h) == 1 else 1) + h,
        lambda _, h: h * (len(h) > 1),  # the output is wrong, without an error
    ],
    ids=["squeezed", "squeezed and back", "softmax", "zero"],
)
def test_a_model_that_squeezes_a_batch_of_one(between: Any) -> None:
    x = sequences(4)
    together, alone = (mc_predict(built(between), rows, n_draws=3) for rows in (x, x[:1]))
    np.testing.assert_allclose(alone.mean, together.mean[:1], rtol=1e-5)
    np.testing.assert_allclose(alone.point, together.point[:1], rtol=1e-5)


def test_a_model_of_a_fixed_batch_size_is_refused_in_one_line() -> None:
    fixed = built(lambda _, h: h.view(8, 6))
    for path, run in PATHS.items():
        with pytest.raises(ModelForwardError) as error:
            run(fixed, sequences(8))
        message = str(error.value)
        assert "batch of 2 inputs" in message, path
        assert "batches of any size" in message, path
        assert "\n" not in message


# --- what probing keeps ---------------------------------------------------------------------------


@dataclass
class Given:
    """The tensors that were given to the dropouts of a pass, and how many were alive at each."""

    tensors: list[weakref.ref[Tensor]] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)

    def note(self, x: Tensor) -> Tensor:
        """Take note of what a dropout is given."""
        self.tensors.append(weakref.ref(x))
        self.alive.append(sum(ref() is not None for ref in self.tensors))
        return x


def deep(given: Given) -> nn.Module:
    """Ten dropouts."""

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4 * LENGTH, 4 * LENGTH) for _ in range(10))
            self.drop = nn.Dropout(0.1)

        def forward(self, x: Tensor) -> Tensor:
            h = x.flatten(1)
            for layer in self.layers:
                h = self.drop(given.note(torch.relu(layer(h))))
            return h.mean(1, keepdim=True)

    return Deep().eval()


def test_probing_keeps_no_tensor_of_the_model() -> None:
    given = Given()
    net = deep(given)
    with torch.no_grad():
        net(torch.from_numpy(sequences(2)))
    by_itself = max(given.alive)
    given.alive.clear()
    sizes, model = sizes_of_batches(net), LockedModel(net)
    with model.borrow():
        assert len(model.plan(torch.from_numpy(sequences(3))).sites) == 10
    assert max(given.alive) == by_itself
    assert max(sizes) == 2  # so that it takes twice the memory of one input


# --- dropout on what does not come from the input ---------------------------------------------------


def test_dropout_on_weights_and_position_codes() -> None:
    class Weights(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 4 * LENGTH))
            self.register_buffer("position", torch.randn(1, 4 * LENGTH))

        def forward(self, x: Tensor) -> Tensor:
            position = F.dropout(self.position, 0.2, self.training)
            return F.linear(x.flatten(1) + position, F.dropout(self.weight, 0.4, self.training))

    net, x = Weights(), torch.from_numpy(sequences(3))
    found = audit(net, x.numpy())
    rows, plan = found.rows, found.plan
    assert [site.batch_axis for site in plan.sites] == [None, None]
    assert [site.shape for site in plan.sites] == [(1, 4 * LENGTH), (3, 4 * LENGTH)]
    assert all("do not depend on the input" in row.locked for row in rows)
    # One matrix product a draw: its mask is the same for all inputs.
    got = locked_forward(net, x, 0, SEED)
    for i in range(3):
        torch.testing.assert_close(locked_forward(net, x[i : i + 1], 0, SEED)[0], got[i])
    assert not torch.allclose(got, locked_forward(net, x, 1, SEED))


def test_audit_says_in_words_which_rows_share_a_mask() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = torch.cat([x, x.flip(1, 2)]).transpose(1, 2)
            y = F.dropout(y.reshape(-1, 4), 0.5, self.training).view(2, len(x), -1)
            return y.mean(0)

    (row,) = audit(Both(), sequences(1)).rows
    assert row.locked == (
        f"locked, each of {LENGTH} parts of an input (positions or heads) has its own mask, "
        "one mask for 2 copies of the input (such as both strands)"
    )
