"""Models that put several rows for each input into the batch: which rows share a mask."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kipoi_mcdropout import MCDropoutISM
from kipoi_mcdropout.dropout.borrow import call_module
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel, locked_forward
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.row_order import over_batch, row_order
from kipoi_mcdropout.dropout.sites import SitePlan
from kipoi_mcdropout.errors import UnlockableDropoutError

SEED = 5
N_POSITIONS, N_CHANNELS, HIDDEN, N_HEADS = 6, 4, 8, 2


class Net(nn.Module):
    """Layers, and a forward pass given as a function of the module and the input."""

    def __init__(self, run: Callable[[Any, Tensor], Any], p: float = 0.5) -> None:
        super().__init__()
        self.run = run
        self.first = nn.Linear(N_CHANNELS, HIDDEN)
        self.lstm = nn.LSTM(N_CHANNELS, HIDDEN)
        self.cell = nn.LSTMCell(N_CHANNELS, HIDDEN)
        self.dense = nn.Linear(N_POSITIONS * N_CHANNELS, HIDDEN)
        self.drop = nn.Dropout(p)
        self.last = nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def built(run: Callable[[Any, Tensor], Any]) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net = Net(run).double()
        for part in (net.first, net.dense):
            nn.init.uniform_(part.bias, 0.5, 1.5)  # hidden units alike at all positions
        nn.init.uniform_(net.last.weight, 0.5, 1.5)
    return net.eval()


def one_hot(n: int = 3) -> Tensor:
    codes = np.random.default_rng(1).integers(0, N_CHANNELS, (n, N_POSITIONS))
    return torch.from_numpy(np.eye(N_CHANNELS)[codes])  # (n, positions, channels)


def head(s: Any, h: Tensor) -> Tensor:
    return s.last(s.drop(torch.relu(h)))


# --- positions: (T * N, H) and (N * T, H) ---------------------------------------------------------


def time_first(s: Any, x: Tensor) -> Tensor:
    t = x.transpose(0, 1)
    return head(s, s.first(t.reshape(-1, N_CHANNELS))).view(N_POSITIONS, -1, 1).mean(0)


def time_second(s: Any, x: Tensor) -> Tensor:
    return head(s, s.first(x.reshape(-1, N_CHANNELS))).view(-1, N_POSITIONS, 1).mean(1)


def lstm_default_layout(s: Any, x: Tensor) -> Tensor:
    y = s.lstm(x.transpose(0, 1))[0]  # (positions, n, hidden)
    return s.last(s.drop(y.flatten(0, 1))).unflatten(0, (N_POSITIONS, -1)).mean(0)


def steps_of_the_input(s: Any, x: Tensor) -> Tensor:
    steps = torch.cat([x[:, t] for t in range(N_POSITIONS)])
    return head(s, s.first(steps)).view(N_POSITIONS, -1, 1).mean(0)


def steps_of_a_cell(s: Any, x: Tensor) -> Tensor:
    steps, state = [], None
    for t in range(N_POSITIONS):
        state = s.cell(x[:, t], state)
        steps.append(state[0])
    return s.last(s.drop(torch.stack(steps).flatten(0, 1))).view(N_POSITIONS, -1, 1).mean(0)


# --- heads: (N * heads, ...) and (heads * N, ...) -------------------------------------------------


def _attend(s: Any, q: Tensor) -> Tensor:
    weights = torch.softmax(q @ q.transpose(1, 2), dim=-1)
    return s.drop(weights) @ q


def heads_behind(s: Any, x: Tensor) -> Tensor:
    q = s.first(x).unflatten(-1, (N_HEADS, -1)).transpose(1, 2)
    y = _attend(s, q.reshape(-1, N_POSITIONS, HIDDEN // N_HEADS))
    return s.last(y.view(q.shape).transpose(1, 2).flatten(2)).mean(1)


def heads_in_front(s: Any, x: Tensor) -> Tensor:
    q = s.first(x).unflatten(-1, (N_HEADS, -1)).permute(2, 0, 1, 3)
    y = _attend(s, q.reshape(-1, N_POSITIONS, HIDDEN // N_HEADS))
    return s.last(y.view(q.shape).permute(1, 2, 0, 3).flatten(2)).mean(1)


def heads_by_chunk_and_cat(s: Any, x: Tensor) -> Tensor:
    q = torch.cat(s.first(x).chunk(N_HEADS, dim=2))
    y = torch.cat(_attend(s, q).chunk(N_HEADS), dim=2)
    return s.last(y).mean(1)


def heads_after_rotation(s: Any, x: Tensor) -> Tensor:
    """Rotary position codes stack halves along a new axis, which is no copy of anything."""
    q = s.first(x)
    a, b = q[..., ::2], q[..., 1::2]
    q = q + 0.1 * torch.stack((-b, a), dim=-1).flatten(-2)
    q = q.unflatten(-1, (N_HEADS, -1)).permute(2, 0, 1, 3).flatten(0, 1)
    y = _attend(s, q).unflatten(0, (N_HEADS, -1)).permute(1, 2, 0, 3).flatten(2)
    return s.last(y).mean(1)


PARTS = {
    time_first: (("part", N_POSITIONS), ("input", 0)),
    time_second: (("input", 0), ("part", N_POSITIONS)),
    lstm_default_layout: (("part", N_POSITIONS), ("input", 0)),
    steps_of_the_input: (("part", N_POSITIONS), ("input", 0)),
    steps_of_a_cell: (("part", N_POSITIONS), ("input", 0)),
    heads_behind: (("input", 0), ("part", N_HEADS)),
    heads_in_front: (("part", N_HEADS), ("input", 0)),
    heads_by_chunk_and_cat: (("part", N_HEADS), ("input", 0)),
    heads_after_rotation: (("part", N_HEADS), ("input", 0)),
}


def plan_of(net: nn.Module, x: Tensor, call: Any = None) -> SitePlan:
    model = LockedModel(net, call)
    with model.borrow():
        return model.plan(x)


@pytest.mark.parametrize("gradients", [False, True], ids=["inference", "no_grad"])
@pytest.mark.parametrize("run", PARTS, ids=lambda run: run.__name__)
def test_each_part_of_an_input_has_its_own_mask(run: Any, gradients: bool) -> None:
    net = built(run)

    def call(x: Tensor) -> Any:
        with torch.inference_mode(False) if gradients else nullcontext(), torch.no_grad():
            return call_module(net)(x.clone())

    (site,) = plan_of(net, one_hot(), call).sites
    assert site.rows == PARTS[run]
    assert site.batch_axis == 0
    assert site.copies == 1
    assert site.shape[0] == dict(PARTS[run])["part"]


@pytest.mark.parametrize("run", PARTS, ids=lambda run: run.__name__)
def test_spread_over_the_draws_is_that_of_torch(run: Any) -> None:
    """Torch's own dropout, with one input as many times in a batch, has a mask for each row."""
    net, x, n_draws, n_torch = built(run), one_hot(1), 500, 4000
    model, bank = LockedModel(net), MaskBank(SEED)
    with model.borrow():
        locked = torch.stack([model.outputs(x, draw, bank) for draw in range(n_draws)]).std()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        own = net.train()(x.expand(n_torch, -1, -1)).std()
    # The relative error of a standard deviation from n draws is about 1 / sqrt(2 n).
    error = (1 / (2 * n_draws) + 1 / (2 * n_torch)) ** 0.5
    assert abs(locked / own - 1) < 5 * error


def test_all_inputs_share_the_masks_of_their_parts() -> None:
    net, x = built(time_first), one_hot(4)
    together = locked_forward(net, x, 0, SEED)
    for i in range(4):
        torch.testing.assert_close(locked_forward(net, x[i : i + 1], 0, SEED)[0], together[i])
    torch.testing.assert_close(locked_forward(net, x.flip(0), 0, SEED).flip(0), together)


# --- copies: both strands -------------------------------------------------------------------------


def _rc(x: Tensor) -> Tensor:
    return x.flip(1, 2)


def one_strand(s: Any, x: Tensor) -> Tensor:
    return head(s, s.dense(x.flatten(1)))


def strands_in_front(s: Any, x: Tensor) -> Tensor:
    y = one_strand(s, torch.cat([x, _rc(x)]))
    return (y[: len(x)] + y[len(x) :]) / 2


def strands_stacked_in_front(s: Any, x: Tensor) -> Tensor:
    return one_strand(s, torch.stack([x, _rc(x)]).flatten(0, 1)).view(2, -1, 1).mean(0)


def strands_behind(s: Any, x: Tensor) -> Tensor:
    return one_strand(s, torch.stack([x, _rc(x)], dim=1).flatten(0, 1)).view(-1, 2, 1).mean(1)


def strands_behind_after_scaling(s: Any, x: Tensor) -> Tensor:
    both = torch.stack([x, _rc(x)], dim=1).float().double() * 2 - 1
    return one_strand(s, (both.flatten(0, 1) + 1) / 2).view(-1, 2, 1).mean(1)


def strands_stacked_then_a_layer(s: Any, x: Tensor) -> Tensor:
    both = torch.stack([x, _rc(x)], dim=1).flatten(2)
    return head(s, s.dense(both).flatten(0, 1)).view(-1, 2, 1).mean(1)


def strands_in_one_channel_axis(s: Any, x: Tensor) -> Tensor:
    both = torch.cat([x, _rc(x)], dim=1)  # (n, 2 * positions, channels)
    return one_strand(s, both.reshape(-1, *x.shape[1:])).view(-1, 2, 1).mean(1)


def strands_by_index_select(s: Any, x: Tensor) -> Tensor:
    back = x.index_select(1, torch.arange(N_POSITIONS - 1, -1, -1))
    back = back.index_select(2, torch.arange(N_CHANNELS - 1, -1, -1))
    y = one_strand(s, torch.cat((x, back), 0))
    return y[: len(x)] / 2 + y[len(x) :] / 2


def strands_from_numpy(s: Any, x: Tensor) -> Tensor:
    return strands_in_front(s, torch.from_numpy(x.numpy().copy()))


COPIES = {
    strands_in_front: (("copy", 2), ("input", 0)),
    strands_stacked_in_front: (("copy", 2), ("input", 0)),
    strands_behind: (("input", 0), ("copy", 2)),
    strands_behind_after_scaling: (("input", 0), ("copy", 2)),
    strands_stacked_then_a_layer: (("input", 0), ("copy", 2)),
    strands_in_one_channel_axis: (("input", 0), ("copy", 2)),
    strands_by_index_select: (("copy", 2), ("input", 0)),
    strands_from_numpy: (("copy", 2), ("input", 0)),
}


@pytest.mark.parametrize("run", COPIES, ids=lambda run: run.__name__)
def test_strands_share_one_mask(run: Any) -> None:
    """One thinned network for both strands: the mean of what it gives for each."""
    net, single, x = built(run), built(one_strand), one_hot()
    (site,) = plan_of(net, x).sites
    assert site.rows == COPIES[run]
    assert site.copies == 2
    assert site.shape == (1, HIDDEN)
    for draw in (0, 1, POINT):
        expected = [locked_forward(single, y, draw, SEED) for y in (x, _rc(x))]
        got = locked_forward(net, x, draw, SEED)
        torch.testing.assert_close(got, (expected[0] + expected[1]) / 2, rtol=1e-12, atol=1e-12)


def test_positions_of_both_strands() -> None:
    """(strands, n, positions) in one axis: a mask for each position, the same for both strands."""

    def strands_and_positions(s: Any, x: Tensor) -> Tensor:
        y = time_second(s, torch.cat([x, _rc(x)]))
        return (y[: len(x)] + y[len(x) :]) / 2

    net, single, x = built(strands_and_positions), built(time_second), one_hot()
    (site,) = plan_of(net, x).sites
    assert site.rows == (("copy", 2), ("input", 0), ("part", N_POSITIONS))
    assert site.shape == (N_POSITIONS, HIDDEN)
    assert site.copies == 2
    expected = [locked_forward(single, y, 0, SEED) for y in (x, _rc(x))]
    got = locked_forward(net, x, 0, SEED)
    torch.testing.assert_close(got, (expected[0] + expected[1]) / 2, rtol=1e-12, atol=1e-12)


def test_torch_attention_of_both_strands() -> None:
    """Torch's own attention puts heads into the batch, which holds both strands already."""

    class Attention(nn.Module):
        def __init__(self, both: bool) -> None:
            super().__init__()
            self.both = both
            self.mha = nn.MultiheadAttention(N_CHANNELS, N_HEADS, dropout=0.5, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.cat([x, _rc(x)]) if self.both else x
            y = self.mha(y, y, y, need_weights=True)[0].mean(1)
            return (y[: len(x)] + y[len(x) :]) / 2 if self.both else y

    nets = [Attention(both).double() for both in (True, False)]
    nets[1].load_state_dict(nets[0].state_dict())
    x = one_hot()
    (site,) = plan_of(nets[0], x).sites
    assert site.rows == (("copy", 2), ("input", 0), ("part", N_HEADS))
    expected = [locked_forward(nets[1], y, 0, SEED) for y in (x, _rc(x))]
    got = locked_forward(nets[0], x, 0, SEED)
    torch.testing.assert_close(got, (expected[0] + expected[1]) / 2, rtol=1e-12, atol=1e-12)


def test_averaged_strands_have_positions_of_their_own() -> None:
    def averaged_first(s: Any, x: Tensor) -> Tensor:
        y = s.first(torch.cat([x, _rc(x)]))
        y = (y[: len(x)] + y[len(x) :]) / 2
        return head(s, y.transpose(0, 1).flatten(0, 1)).view(N_POSITIONS, -1, 1).mean(0)

    (site,) = plan_of(built(averaged_first), one_hot()).sites
    assert site.rows == (("part", N_POSITIONS), ("input", 0))


# --- what cannot be determined ------------------------------------------------------------------


def strands_after_the_first_layer(s: Any, x: Tensor) -> Tensor:
    both = torch.cat([s.dense(x.flatten(1)), s.dense(_rc(x).flatten(1))])
    y = head(s, both)
    return (y[: len(x)] + y[len(x) :]) / 2


def strands_stacked_then_convolved(s: Any, x: Tensor) -> Tensor:
    both = torch.stack([x, _rc(x)], dim=1)  # (n, 2, positions, channels): as an image of two channels
    both = F.conv2d(both, torch.ones(2, 2, 1, 1, dtype=x.dtype) / 4)
    return one_strand(s, both.flatten(0, 1)).view(-1, 2, 1).mean(1)


def input_and_its_shifted_copy(s: Any, x: Tensor) -> Tensor:
    both = torch.cat([x, F.pad(x[:, 1:], (0, 0, 0, 1))])
    return one_strand(s, both).view(2, -1, 1).mean(0)


def features_of_strands_as_channels(s: Any, x: Tensor) -> Tensor:
    both = torch.cat([s.dense(x.flatten(1)), s.dense(_rc(x).flatten(1))], dim=1)
    return head(s, torch.relu(both).view(-1, HIDDEN)).view(-1, 2, 1).mean(1)


def strands_by_one_index(s: Any, x: Tensor) -> Tensor:
    forward = torch.arange(N_POSITIONS * N_CHANNELS)
    both = x.flatten(1)[:, torch.cat([forward, forward.flip(0)])]
    return head(s, s.dense(both.view(-1, N_POSITIONS * N_CHANNELS))).view(-1, 2, 1).mean(1)


def strands_made_by_numpy(s: Any, x: Tensor) -> Tensor:
    both = torch.from_numpy(np.concatenate([x.numpy(), _rc(x).numpy()]))
    return one_strand(s, both).view(2, -1, 1).mean(0)


def strands_written_into_a_buffer(s: Any, x: Tensor) -> Tensor:
    both = x.new_zeros(2 * len(x), *x.shape[1:])
    both[: len(x)], both[len(x) :] = x, _rc(x)
    return one_strand(s, both).view(2, -1, 1).mean(0)


@pytest.mark.parametrize(
    "run",
    [
        strands_after_the_first_layer, strands_stacked_then_convolved, input_and_its_shifted_copy,
        strands_made_by_numpy, strands_written_into_a_buffer, features_of_strands_as_channels,
        strands_by_one_index,
    ],
    ids=lambda run: run.__name__,
)  # fmt: skip
def test_rows_that_cannot_be_told_apart_are_refused_by_name(run: Any) -> None:
    with pytest.raises(UnlockableDropoutError, match=r"'drop'.* sees 2 rows for each input"):
        plan_of(built(run), one_hot())


def test_repeated_input_is_a_copy_and_a_repeated_layer_is_not() -> None:
    def repeated_input(s: Any, x: Tensor) -> Tensor:
        return one_strand(s, x.repeat(2, 1, 1)).view(2, -1, 1).mean(0)

    def repeated_layer(s: Any, x: Tensor) -> Tensor:  # as a decoder does, for each of its steps
        h = torch.relu(s.dense(x.flatten(1)))
        return s.last(s.drop(h[None].expand(5, -1, -1).reshape(-1, HIDDEN))).view(5, -1, 1).mean(0)

    (site,) = plan_of(built(repeated_input), one_hot()).sites
    assert site.rows == (("copy", 2), ("input", 0))
    (site,) = plan_of(built(repeated_layer), one_hot()).sites
    assert site.rows == (("part", 5), ("input", 0))


def test_one_hot_columns_are_no_copies() -> None:
    """Each column of a one-hot sequence has the same values in another order: still no copy."""

    def two_columns(s: Any, x: Tensor) -> Tensor:
        return head(s, s.first(torch.cat([x[:, 0], x[:, 3]]))).view(2, -1, 1).mean(0)

    def halves(s: Any, x: Tensor) -> Tensor:
        half = torch.cat([x[:, :3], x[:, 3:]])
        return head(s, F.linear(half.flatten(1), s.dense.weight[:, :12])).view(2, -1, 1).mean(0)

    with pytest.raises(UnlockableDropoutError, match="cannot be determined"):
        plan_of(built(two_columns), one_hot())
    (site,) = plan_of(built(halves), one_hot()).sites
    assert site.rows == (("part", 2), ("input", 0))


# --- the order of the rows itself -----------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize(
    "order",
    [
        (("input", 0),),
        (("copy", 2), ("input", 0)),
        (("part", 3), ("input", 0), ("copy", 2)),
        (("part", 3), ("copy", 2), ("input", 0), ("part", 2)),
        (("copy", 2), ("part", 2), ("input", 0), ("part", 3)),
    ],
)
def test_order_of_rows_and_masks_over_them(order: Any, n: int) -> None:
    sizes = [n if kind == "input" else size for kind, size in order]
    index = np.indices(sizes)
    kinds = [kind for kind, _ in order]
    owners = index[kinds.index("input")].reshape(-1).tolist()
    zero = np.zeros(sizes, int)
    copies = (index[kinds.index("copy")] if "copy" in kinds else zero).reshape(-1).tolist()
    assert row_order(owners, copies, n) == order
    n_parts = int(np.prod([size for kind, size in order if kind == "part"]))
    keep = torch.arange(n_parts * 5).reshape(5, n_parts)
    full = over_batch(keep, 1, order, n).expand(5, len(owners))
    seen: dict[tuple[int, int], int] = {}
    for r, row in enumerate(zip(owners, copies, strict=True)):
        part = seen[row] = seen.get(row, -1) + 1
        assert torch.equal(full[:, r], keep[:, part])


def test_rows_in_no_order() -> None:
    assert row_order([0, 1, 1, 0], [0] * 4, 2) is None
    assert row_order([0, 1, 0, 1], [0, 1, 1, 0], 2) is None
    assert row_order([0, 0, 1], [0] * 3, 2) is None


# --- the engines agree ----------------------------------------------------------------------------


@pytest.mark.parametrize("run", [*PARTS, *COPIES], ids=lambda run: run.__name__)
def test_fast_engine_and_oracle_agree(run: Any) -> None:
    """Whatever the default engine makes of such masks, its effects are those of whole inputs."""
    results = {
        engine: MCDropoutISM(
            built(run), None, "diff", category_axis=1, n_draws=4, seed=SEED, engine=engine
        ).score(one_hot(1).numpy())
        for engine in ("auto", "full")
    }  # fmt: skip
    got, expected = (np.asarray(results[engine]["diff"]["effect_sd"]) for engine in ("auto", "full"))
    assert np.nanmax(expected) > 0
    np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-12)


def test_strands_of_bases_as_numbers() -> None:
    """The complement of bases as numbers is 3 - x: other values, as often."""

    class Tokens(nn.Module):
        def __init__(self, both: bool) -> None:
            super().__init__()
            self.both = both
            self.embedding, self.drop = nn.Embedding(4, HIDDEN), nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.cat([x, 3 - x.flip(1)]) if self.both else x
            y = self.drop(self.embedding(y).cumsum(1))[:, -1]
            return (y[: len(x)] + y[len(x) :]) / 2 if self.both else y

    both, single = Tokens(True).double(), Tokens(False).double()
    single.load_state_dict(both.state_dict())
    x = one_hot().argmax(2)
    (site,) = plan_of(both, x).sites
    assert site.rows == (("copy", 2), ("input", 0))
    assert site.shape == (1, N_POSITIONS, HIDDEN)
    expected = [locked_forward(single, y, 0, SEED) for y in (x, 3 - x.flip(1))]
    got = locked_forward(both, x, 0, SEED)
    torch.testing.assert_close(got, (expected[0] + expected[1]) / 2, rtol=1e-12, atol=1e-12)
