"""Every way in which dropout hides in a PyTorch model: locked as written out by hand, or refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel, locked_forward
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.masks import keep_mask
from kipoi_mcdropout.dropout.sites import SitePlan
from kipoi_mcdropout.errors import ModelError, NoRandomSiteError, UnlockableDropoutError
from kipoi_mcdropout.outputs.matrix import flatten_outputs

SEED = 11
TIGHT = {"rtol": 1e-12, "atol": 1e-12}  # float64; only the order of summation differs
ALPHA = 1.6732632423543772 * 1.0507009873554805  # SELU's alpha * scale


class Net(nn.Module):
    """Parts, and a forward pass given as a function of the module and the input."""

    def __init__(self, run: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


@dataclass(frozen=True)
class Expected:
    """A dropout site as it should be found."""

    kind: str
    shape: tuple[int, ...]  # of the mask
    p: float
    batch_axis: int | None = 0
    copies: int = 1


ByHand = Callable[[Any, Tensor, Callable[[int], Tensor]], Any]


@dataclass(frozen=True)
class Case:
    """A model and the same computation written out with the masks as factors.

    `by_hand(net, x, factor)`: factor(i) is keep / (1 - p) of site i, all ones for dropout off.
    """

    build: Callable[[], nn.Module]
    x_shape: tuple[int, ...]
    sites: tuple[Expected, ...]
    by_hand: ByHand
    random_in_eval: bool = False  # the model drops units even in evaluation mode
    names: tuple[str, ...] = field(default=())


def one(*args: Any, **kwargs: Any) -> tuple[Expected, ...]:
    return (Expected(*args, **kwargs),)


def dense(between: Callable[[Any, Tensor], Tensor], **parts: nn.Module) -> nn.Module:
    """Two linear layers with something between them."""
    return Net(
        lambda s, x: s.last(between(s, torch.relu(s.first(x)))),
        first=nn.Linear(5, 6), last=nn.Linear(6, 3), **parts,
    )  # fmt: skip


def dense_by_hand(s: Any, x: Tensor, factor: Callable[[int], Tensor]) -> Tensor:
    return s.last(torch.relu(s.first(x)) * factor(0))


def conv(n_axes: int, drop: nn.Module) -> nn.Module:
    layer = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[n_axes]
    return Net(
        lambda s, x: s.last(s.drop(s.conv(x)).flatten(1)),
        conv=layer(4, 6, 2), drop=drop, last=nn.Linear(6 * 2**n_axes, 3),
    )  # fmt: skip


def conv_by_hand(s: Any, x: Tensor, factor: Callable[[int], Tensor]) -> Tensor:
    return s.last((s.conv(x) * factor(0)).flatten(1))


def alpha_dropped(x: Tensor, factor: Tensor, p: float) -> Tensor:
    """Alpha dropout as in the paper: a * (x d + alpha' (1 - d)) + b, with its a and b."""
    kept = (factor > 0).to(x.dtype)
    if (factor == 1).all():  # dropout off
        return x
    a = ((1 - p) * (1 + p * ALPHA**2)) ** -0.5
    b = -a * -ALPHA * p
    return a * (x * kept - ALPHA * (1 - kept)) + b


def attended(q: Tensor, k: Tensor, v: Tensor, factor: Tensor, allowed: Tensor | None = None) -> Tensor:
    """softmax(q k / sqrt(d)), masked, times the factor, times v; by sums over named axes."""
    logits = torch.einsum("...id,...jd->...ij", q, k) / math.sqrt(q.shape[-1])
    weights = torch.exp(logits - logits.amax(-1, keepdim=True))
    weights = weights if allowed is None else weights * allowed
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.einsum("...ij,...jd->...id", weights * factor, v)


def heads_by_hand(mha: nn.MultiheadAttention, x: Tensor, factor: Tensor) -> Tensor:
    """Multi-head self-attention; x, shape=(batch, positions, channels)."""
    n, length, channels = x.shape
    size = channels // mha.num_heads

    def split(part: int) -> Tensor:
        rows = slice(part * channels, (part + 1) * channels)
        y = x @ mha.in_proj_weight[rows].T + mha.in_proj_bias[rows]
        return y.reshape(n, length, mha.num_heads, size).transpose(1, 2)

    y = attended(split(0), split(1), split(2), factor).transpose(1, 2)
    return mha.out_proj(y.reshape(n, length, channels))


def self_attention(need_weights: bool, batch_first: bool = True) -> nn.Module:
    def run(s: Any, x: Tensor) -> Tensor:
        x = x if batch_first else x.transpose(0, 1)
        y = s.mha(x, x, x, need_weights=need_weights)[0]
        return y if batch_first else y.transpose(0, 1)

    return Net(run, mha=nn.MultiheadAttention(6, 2, dropout=0.4, batch_first=batch_first))


def encoder(batch_first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.3, batch_first=batch_first)
    if batch_first:
        return Net(lambda s, x: s.layer(x), layer=layer)
    return Net(lambda s, x: s.layer(x.transpose(0, 1)).transpose(0, 1), layer=layer)


def encoder_sites(batch_first: bool) -> tuple[Expected, ...]:
    axis = 0 if batch_first else 1

    def shape(channels: int) -> tuple[int, ...]:
        return (1, 4, channels) if batch_first else (4, 1, channels)

    return (
        Expected("attention", (1, 2, 4, 4), 0.3),
        Expected("dropout", shape(6), 0.3, axis),
        Expected("dropout", shape(8), 0.3, axis),
        Expected("dropout", shape(6), 0.3, axis),
    )


def encoder_by_hand(s: Any, x: Tensor, factor: Callable[[int], Tensor]) -> Tensor:
    layer = s.layer

    def rows(i: int) -> Tensor:  # factors with the batch first
        return factor(i) if factor(i).shape[0] == 1 else factor(i).transpose(0, 1)

    x = layer.norm1(x + heads_by_hand(layer.self_attn, x, factor(0)) * rows(1))
    hidden = torch.relu(layer.linear1(x)) * rows(2)
    return layer.norm2(x + layer.linear2(hidden) * rows(3))


def attention(**options: Any) -> nn.Module:
    """Two heads of attention of x with itself, with dropout whatever the training flag."""
    return Net(
        lambda s, x: F.scaled_dot_product_attention(*_qkv(s, x), dropout_p=0.4, **options).flatten(1),
        qkv=nn.Linear(6, 18),
    )  # fmt: skip


def guarded_attention() -> nn.Module:
    def run(s: Any, x: Tensor) -> Tensor:
        p = 0.4 if s.training else 0.0
        return F.scaled_dot_product_attention(*_qkv(s, x), dropout_p=p).flatten(1)

    return Net(run, qkv=nn.Linear(6, 18))


def _qkv(s: Any, x: Tensor) -> tuple[Tensor, ...]:
    q, k, v = s.qkv(x).chunk(3, dim=-1)
    return tuple(y.unflatten(-1, (2, 3)).transpose(1, 2) for y in (q, k, v))


def attention_by_hand(allowed: Tensor | None = None) -> ByHand:
    return lambda s, x, factor: attended(*_qkv(s, x), factor(0), allowed).flatten(1)


CAUSAL = torch.ones(4, 4, dtype=torch.bool).tril()
WINDOW = (torch.arange(4)[:, None] - torch.arange(4)).abs() <= 1
BIAS = 1.0 + 2.0 * WINDOW.double()
ATTENTION = one("attention", (1, 2, 4, 4), 0.4)


def grouped_queries() -> nn.Module:
    """Four heads of queries share two of keys and values."""
    return Net(
        lambda s, x: F.scaled_dot_product_attention(
            *_grouped(s, x), dropout_p=0.4, enable_gqa=True
        ).flatten(1),
        q=nn.Linear(6, 12), kv=nn.Linear(6, 12),
    )  # fmt: skip


def _grouped(s: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    k, v = s.kv(x).chunk(2, dim=-1)
    q = s.q(x).unflatten(-1, (4, 3)).transpose(1, 2)
    return q, k.unflatten(-1, (2, 3)).transpose(1, 2), v.unflatten(-1, (2, 3)).transpose(1, 2)


def grouped_by_hand(s: Any, x: Tensor, factor: Callable[[int], Tensor]) -> Tensor:
    q, k, v = _grouped(s, x)
    share = [0, 0, 1, 1]
    return attended(q, k[:, share], v[:, share], factor(0)).flatten(1)


def recurrent(kind: type[nn.RNNBase], batch_first: bool = True, **options: Any) -> nn.Module:
    def run(s: Any, x: Tensor) -> Tensor:
        if batch_first:
            return s.rnn(x)[0].flatten(1)
        return s.rnn(x.transpose(0, 1))[0].transpose(0, 1).flatten(1)

    rnn = kind(5, 4, num_layers=3, dropout=0.3, batch_first=batch_first, **options)
    return Net(run, rnn=rnn)


def recurrent_by_hand(s: Any, x: Tensor, factor: Callable[[int], Tensor]) -> Tensor:
    """Stacked layers as single ones, each with its own weights, dropout between them."""
    rnn = s.rnn
    for i in range(rnn.num_layers):
        options = {"proj_size": rnn.proj_size} if rnn.proj_size else {}
        if isinstance(rnn, nn.RNN):
            options["nonlinearity"] = rnn.nonlinearity
        layer = type(rnn)(
            x.shape[-1], rnn.hidden_size, batch_first=True, bidirectional=rnn.bidirectional, **options
        ).to(x.dtype)  # fmt: skip
        for name, weight in layer.named_parameters():
            weight.data = getattr(rnn, name.replace("_l0", f"_l{i}")).data
        if i > 0:
            f = factor(i - 1)
            x = x * (f if rnn.batch_first else f.transpose(0, 1))
        x = layer(x)[0]
    return x.flatten(1)


def rnn_sites(kind: str, width: int = 4, batch_first: bool = True) -> tuple[Expected, ...]:
    shape, axis = ((1, 7, width), 0) if batch_first else ((7, 1, width), 1)
    return (Expected(kind, shape, 0.3, axis),) * 2


def both_strands() -> nn.Module:
    def run(s: Any, x: Tensor) -> Tensor:
        y = s.last(s.drop(torch.relu(s.first(torch.cat([x, x.flip(1)])))))
        return (y[: len(x)] + y[len(x) :]) / 2

    return Net(run, first=nn.Linear(5, 6), drop=nn.Dropout(0.4), last=nn.Linear(6, 3))


def both_strands_by_hand(s: Any, x: Tensor, factor: Callable[[int], Tensor]) -> Tensor:
    return (dense_by_hand(s, x, factor) + dense_by_hand(s, x.flip(1), factor)) / 2


def reused() -> nn.Module:
    def run(s: Any, x: Tensor) -> Tensor:
        return s.last(s.drop(s.second(s.drop(s.first(x)))))

    return Net(
        run,
        first=nn.Linear(5, 6),
        second=nn.Linear(6, 6),
        drop=nn.Dropout(0.4),
        last=nn.Linear(6, 3),
    )


def guarded(s: Any, h: Tensor) -> Tensor:
    if s.training:
        h = F.dropout(h, 0.4)
    return h


CASES: dict[str, Case] = {
    "Dropout": Case(
        lambda: dense(lambda s, h: s.drop(h), drop=nn.Dropout(0.4)), (5,),
        one("dropout", (1, 6), 0.4), dense_by_hand, names=("drop",),
    ),
    "Dropout in place": Case(
        lambda: dense(lambda s, h: s.drop(h), drop=nn.Dropout(0.4, inplace=True)), (5,),
        one("dropout", (1, 6), 0.4), dense_by_hand,
    ),
    "in place, result not used": Case(
        lambda: dense(lambda s, h: (F.dropout(h, 0.4, s.training, inplace=True), h)[1]), (5,),
        one("dropout", (1, 6), 0.4), dense_by_hand,
    ),
    "F.dropout": Case(
        lambda: dense(lambda s, h: F.dropout(h, 0.4, training=s.training)), (5,),
        one("dropout", (1, 6), 0.4), dense_by_hand, names=("Net",),
    ),
    "F.dropout by keywords": Case(
        lambda: dense(lambda s, h: F.dropout(input=h, training=s.training)), (5,),
        one("dropout", (1, 6), 0.5), dense_by_hand,
    ),
    "torch.dropout": Case(
        lambda: dense(lambda s, h: torch.dropout(h, 0.4, s.training)), (5,),
        one("dropout", (1, 6), 0.4), dense_by_hand,
    ),
    "built inside forward": Case(
        lambda: dense(lambda _, h: nn.Dropout(0.4)(h)), (5,),
        one("dropout", (1, 6), 0.4), dense_by_hand, random_in_eval=True,
    ),
    "guarded by training": Case(
        lambda: dense(guarded), (5,), one("dropout", (1, 6), 0.4), dense_by_hand,
    ),
    "called twice": Case(
        reused, (5,), (Expected("dropout", (1, 6), 0.4),) * 2,
        lambda s, x, f: s.last(s.second(s.first(x) * f(0)) * f(1)), names=("drop#1", "drop#2"),
    ),
    "Dropout1d": Case(
        lambda: conv(1, nn.Dropout1d(0.4)), (4, 3), one("dropout1d", (1, 6, 1), 0.4), conv_by_hand
    ),
    "Dropout2d": Case(
        lambda: conv(2, nn.Dropout2d(0.4)), (4, 3, 3),
        one("dropout2d", (1, 6, 1, 1), 0.4), conv_by_hand,
    ),
    "Dropout3d": Case(
        lambda: conv(3, nn.Dropout3d(0.4)), (4, 3, 3, 3),
        one("dropout3d", (1, 6, 1, 1, 1), 0.4), conv_by_hand,
    ),
    "AlphaDropout": Case(
        lambda: conv(1, nn.AlphaDropout(0.4)), (4, 3), one("alpha_dropout", (1, 6, 2), 0.4),
        lambda s, x, f: s.last(alpha_dropped(s.conv(x), f(0), 0.4).flatten(1)),
    ),
    "FeatureAlphaDropout": Case(
        lambda: conv(1, nn.FeatureAlphaDropout(0.4)), (4, 3),
        one("feature_alpha_dropout", (1, 6, 1), 0.4),
        lambda s, x, f: s.last(alpha_dropped(s.conv(x), f(0), 0.4).flatten(1)),
    ),
    "batch doubled inside": Case(
        both_strands, (5,), one("dropout", (1, 6), 0.4, copies=2), both_strands_by_hand
    ),
    "heads folded into the batch": Case(
        lambda: Net(lambda s, x: s.drop(x.reshape(-1, 2, 3)).reshape(len(x), -1).cumsum(1),
                    drop=nn.Dropout(0.4)),
        (4, 6), one("dropout", (4, 2, 3), 0.4),
        lambda _, x, f: (x * f(0).reshape(1, 4, 6)).flatten(1).cumsum(1),
    ),
    "batch on axis 1": Case(
        lambda: Net(lambda s, x: s.drop(x.transpose(0, 1)).sum(0), drop=nn.Dropout(0.4)),
        (4, 6), one("dropout", (4, 1, 6), 0.4, 1),
        lambda _, x, f: (x * f(0).transpose(0, 1)).sum(1),
    ),
    "independent of the input": Case(
        lambda: Net(lambda s, x: x * s.drop(s.position.weight[None]), drop=nn.Dropout(0.4),
                    position=nn.Embedding(4, 6)),
        (4, 6), one("dropout", (1, 4, 6), 0.4, None),
        lambda s, x, f: x * s.position.weight * f(0),
    ),
    "list output": Case(
        lambda: Net(lambda s, x: [s.drop(x), x[:, :2]], drop=nn.Dropout(0.4)), (6,),
        one("dropout", (1, 6), 0.4), lambda _, x, f: [x * f(0), x[:, :2]],
    ),
    "tuple output": Case(
        lambda: Net(lambda s, x: (s.drop(x), x[:, :2]), drop=nn.Dropout(0.4)), (6,),
        one("dropout", (1, 6), 0.4), lambda _, x, f: (x * f(0), x[:, :2]),
    ),
    "dict output": Case(
        lambda: Net(lambda s, x: {"a": s.drop(x), "b": [x.sum(1)]}, drop=nn.Dropout(0.4)), (6,),
        one("dropout", (1, 6), 0.4), lambda _, x, f: {"a": x * f(0), "b": [x.sum(1)]},
    ),
    "TransformerEncoderLayer": Case(
        lambda: encoder(True), (4, 6), encoder_sites(True), encoder_by_hand,
        names=("layer.self_attn", "layer.dropout1", "layer.dropout", "layer.dropout2"),
    ),
    "TransformerEncoderLayer, batch second": Case(
        lambda: encoder(False), (4, 6), encoder_sites(False), encoder_by_hand
    ),
    "MultiheadAttention with weights": Case(
        lambda: self_attention(True), (4, 6), one("attention", (2, 4, 4), 0.4),
        lambda s, x, f: heads_by_hand(s.mha, x, f(0)), names=("mha",),
    ),
    "MultiheadAttention without weights": Case(
        lambda: self_attention(False), (4, 6), ATTENTION,
        lambda s, x, f: heads_by_hand(s.mha, x, f(0)),
    ),
    "MultiheadAttention, batch second": Case(
        lambda: self_attention(False, batch_first=False), (4, 6), ATTENTION,
        lambda s, x, f: heads_by_hand(s.mha, x, f(0)),
    ),
    "attention": Case(attention, (4, 6), ATTENTION, attention_by_hand(), random_in_eval=True),
    "causal attention": Case(
        lambda: attention(is_causal=True), (4, 6), ATTENTION, attention_by_hand(CAUSAL),
        random_in_eval=True,
    ),
    "masked attention": Case(
        lambda: attention(attn_mask=WINDOW), (4, 6), ATTENTION, attention_by_hand(WINDOW),
        random_in_eval=True,
    ),
    "biased attention": Case(
        lambda: attention(attn_mask=BIAS.log()), (4, 6),
        ATTENTION, attention_by_hand(BIAS), random_in_eval=True,
    ),
    "grouped-query attention": Case(
        grouped_queries, (4, 6), one("attention", (1, 4, 4, 4), 0.4), grouped_by_hand,
        random_in_eval=True,
    ),
    "attention guarded by training": Case(
        guarded_attention, (4, 6), ATTENTION, attention_by_hand()
    ),
    "LSTM": Case(
        lambda: recurrent(nn.LSTM), (7, 5), rnn_sites("lstm"), recurrent_by_hand,
        names=("rnn#1", "rnn#2"),
    ),
    "LSTM, time first": Case(
        lambda: recurrent(nn.LSTM, batch_first=False), (7, 5),
        rnn_sites("lstm", batch_first=False), recurrent_by_hand,
    ),
    "LSTM, both directions": Case(
        lambda: recurrent(nn.LSTM, bidirectional=True), (7, 5), rnn_sites("lstm", 8),
        recurrent_by_hand,
    ),
    "LSTM with projection": Case(
        lambda: recurrent(nn.LSTM, proj_size=2), (7, 5), rnn_sites("lstm", 2), recurrent_by_hand
    ),
    "LSTM, both directions with projection": Case(
        lambda: recurrent(nn.LSTM, proj_size=2, bidirectional=True), (7, 5), rnn_sites("lstm", 4),
        recurrent_by_hand,
    ),
    "LSTM without bias": Case(
        lambda: recurrent(nn.LSTM, bias=False), (7, 5), rnn_sites("lstm"),
        lambda s, x, f: recurrent_by_hand(_with_zero_bias(s), x, f),
    ),
    "GRU": Case(
        lambda: recurrent(nn.GRU, bidirectional=True), (7, 5), rnn_sites("gru", 8),
        recurrent_by_hand,
    ),
    "RNN": Case(lambda: recurrent(nn.RNN), (7, 5), rnn_sites("rnn_tanh"), recurrent_by_hand),
    "RNN with ReLU": Case(
        lambda: recurrent(nn.RNN, nonlinearity="relu", bidirectional=True), (7, 5),
        rnn_sites("rnn_relu", 8), recurrent_by_hand,
    ),
}  # fmt: skip


def _with_zero_bias(s: Any) -> Any:
    rnn = nn.LSTM(5, 4, num_layers=3, batch_first=True).double()
    for name, weight in rnn.named_parameters():
        weight.data = getattr(s.rnn, name).data if "weight" in name else torch.zeros_like(weight)
    return Net(s.run, rnn=rnn)


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "_"))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def built(case: Case) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return case.build().double().eval()


def inputs(case: Case, n: int = 5) -> Tensor:
    return torch.from_numpy(np.random.default_rng(4).normal(size=(n, *case.x_shape)))


def flat(outputs: Any, n: int) -> Tensor:
    return flatten_outputs(outputs, n)


def factors(case: Case, draw: int) -> Callable[[int], Tensor]:
    """Factors of the sites, from the masks' definition and the expected shapes alone."""

    def factor(i: int) -> Tensor:
        site = case.sites[i]
        if draw == POINT:
            return torch.ones(site.shape, dtype=torch.float64)
        keep = keep_mask(SEED, draw, i, site.shape, site.p)
        return torch.from_numpy(keep).double() / (1 - site.p)

    return factor


def runner(net: nn.Module) -> Callable[..., Tensor]:
    """The oracle for one model, which is probed once."""
    model = LockedModel(net)

    def run(x: Tensor, draw: int, seed: int = SEED) -> Tensor:
        with model.borrow():
            return model.outputs(x, draw, MaskBank(seed))

    return run


def by_hand(case: Case, net: nn.Module, x: Tensor, draw: int) -> Tensor:
    with torch.no_grad():
        return flat(case.by_hand(net, x, factors(case, draw)), len(x))


def test_sites_are_found(case: Case) -> None:
    plan = plan_of(built(case), inputs(case))
    found = [Expected(s.kind, s.shape, s.p, s.batch_axis, s.copies) for s in plan.sites]
    assert tuple(found) == case.sites
    assert [site.index for site in plan.sites] == list(range(len(case.sites)))
    if case.names:
        assert tuple(site.name for site in plan.sites) == case.names


def test_output_is_that_of_the_masks_written_out(case: Case) -> None:
    net, x = built(case), inputs(case)
    run = runner(net)
    for draw in (0, 1, 2):
        got = run(x, draw)
        torch.testing.assert_close(got, by_hand(case, net, x, draw), **TIGHT)


def test_point_is_the_model_with_dropout_off(case: Case) -> None:
    net, x = built(case), inputs(case)
    point = locked_forward(net, x, POINT, SEED)
    torch.testing.assert_close(point, by_hand(case, net, x, POINT), **TIGHT)
    if not case.random_in_eval:
        with torch.no_grad():
            torch.testing.assert_close(point, flat(net(x), len(x)), **TIGHT)


def test_all_rows_of_a_draw_see_the_same_masks(case: Case) -> None:
    net, x = built(case), inputs(case)
    run = runner(net)
    together = run(x, 0)
    alone = torch.cat([run(row, 0) for row in x.split(1)])
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(together, alone, **TIGHT)
    torch.testing.assert_close(together[order], run(x[order], 0), **TIGHT)
    torch.testing.assert_close(together[:3], run(x[:3], 0), **TIGHT)


def test_draws_differ_and_repeat(case: Case) -> None:
    net, x = built(case), inputs(case)
    run = runner(net)
    draws = [run(x, draw) for draw in range(4)]
    for i in range(4):
        assert not any(torch.allclose(draws[i], draws[j]) for j in range(i))
        assert not torch.allclose(draws[i], run(x, i, SEED + 1))
        assert torch.equal(draws[i], run(x, i))


def test_model_is_left_as_it_was(case: Case) -> None:
    net, x = built(case), inputs(case)
    for part in net.modules():  # a pattern of flags of its own
        part.training = len(list(part.parameters())) % 2 == 0
    before = {name: value.clone() for name, value in net.state_dict().items()}
    flags = [part.training for part in net.modules()]
    own, states = x.clone(), torch.get_rng_state()
    locked_forward(net, x, 0, SEED)
    assert [part.training for part in net.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(
        not part._forward_hooks and not part._forward_pre_hooks
        and not part._forward_hooks_always_called for part in net.modules()
    )  # fmt: skip
    assert torch.equal(x, own)
    assert torch.equal(torch.get_rng_state(), states)


LINEAR = ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"]


@pytest.mark.parametrize("name", LINEAR)
def test_mean_over_draws_of_a_linear_readout_is_the_point(name: str) -> None:
    case, n_draws = CASES[name], 400
    net, x = built(case), inputs(case, 2)
    model, bank = LockedModel(net), MaskBank(SEED)
    with model.borrow():
        mean = torch.stack([model.outputs(x, d, bank) for d in range(n_draws)]).mean(0)
        hidden = torch.relu(net.first(x)) if name == "Dropout" else net.conv(x)
    p = case.sites[0].p
    low, scale, shift = 0.0, 1 / (1 - p), 0.0  # dropped value, and the affine form
    if "Alpha" in name:
        scale = ((1 - p) * (1 + p * ALPHA**2)) ** -0.5
        low, shift = -ALPHA, scale * ALPHA * p
    expected = scale * ((1 - p) * hidden + p * low) + shift
    # Each unit of the mask is one independent Bernoulli(1 - p) that moves output o by `step`.
    per_element = (scale * (hidden - low)).flatten(1)[:, None, :] * net.last.weight
    units = per_element.unflatten(-1, (hidden.shape[1], -1))
    step = units.sum(-1) if name not in ("Dropout", "AlphaDropout") else units.flatten(-2)
    error = (step.square().sum(-1) * p * (1 - p) / n_draws).sqrt()
    assert (error > 0).all()
    assert ((mean - net.last(expected.flatten(1))).abs() < 4 * error).all()
    if "Alpha" not in name:
        torch.testing.assert_close(expected, hidden)


def test_weights_asked_for_or_not_the_same_masks() -> None:
    """Both ways through MultiheadAttention lay the masks over the heads alike."""
    with_weights = CASES["MultiheadAttention with weights"]
    x = inputs(with_weights)
    without = CASES["MultiheadAttention without weights"]
    torch.testing.assert_close(
        locked_forward(built(with_weights), x, 0, SEED),
        locked_forward(built(without), x, 0, SEED),
        **TIGHT,
    )


def test_attention_row_that_may_attend_to_nothing_is_as_in_torch() -> None:
    allowed = WINDOW.clone()
    allowed[2] = False
    net = Net(
        lambda s, x: F.scaled_dot_product_attention(
            *_qkv(s, x), attn_mask=allowed, dropout_p=0.4 if s.training else 0.0
        ).flatten(1),
        qkv=nn.Linear(6, 18),
    ).double()
    x = inputs(CASES["attention"])
    with torch.no_grad():
        expected = net.eval()(x)
    torch.testing.assert_close(locked_forward(net, x, POINT, SEED), expected, **TIGHT)
    assert torch.isfinite(locked_forward(net, x, 0, SEED)).all() == torch.isfinite(expected).all()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_whole_transformer_encoder_with_padding_mask() -> None:
    """The fused and the nested-tensor paths of torch, which skip dropout, are not taken."""
    layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.3, batch_first=True)
    padding = torch.tensor([False, False, False, True])
    net = Net(
        lambda s, x: s.encoder(x, src_key_padding_mask=padding.expand(len(x), 4))[:, :3].flatten(1),
        encoder=nn.TransformerEncoder(layer, 2),
    )  # fmt: skip
    x = inputs(CASES["attention"]).float()
    plan = plan_of(net, x)
    assert [site.kind for site in plan.sites] == ["attention", "dropout", "dropout", "dropout"] * 2
    with torch.no_grad():
        expected = net.eval()(x)
    torch.testing.assert_close(locked_forward(net, x, POINT, SEED), expected, rtol=1e-4, atol=1e-5)
    changed = x.clone()
    changed[:, 3] += 1  # what is padding has no effect under masks either
    torch.testing.assert_close(locked_forward(net, x, 0, SEED), locked_forward(net, changed, 0, SEED))


def test_dropout_guarded_in_a_child_leaves_batch_norm_alone() -> None:
    child = Net(lambda s, h: F.dropout(h, 0.4) if s.training else h)
    net = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), child, nn.Linear(6, 3)).double()
    net[1].running_mean += 0.3
    x = inputs(CASES["Dropout"])
    mean = net[1].running_mean.clone()
    got = locked_forward(net, x, 0, SEED)
    keep = torch.from_numpy(keep_mask(SEED, 0, 0, (1, 6), 0.4))
    with torch.no_grad():
        net.eval()
        torch.testing.assert_close(got, net[3](net[1](net[0](x)) * keep / 0.6), **TIGHT)
    assert torch.equal(net[1].running_mean, mean)
    assert net[1].num_batches_tracked == 0
    assert [part.__class__ for part in plan_of(net, x).lifted] == [Net]


# --- refused, or nothing to lock -----------------------------------------------------------------


def plan_of(net: nn.Module, x: Tensor, ignore: tuple[str, ...] = ()) -> SitePlan:
    model = LockedModel(net, ignore=ignore)
    with model.borrow():
        return model.plan(x)


def refused(net: nn.Module, x: Tensor, *words: str) -> None:
    with pytest.raises(UnlockableDropoutError) as error:
        plan_of(net, x)
    for word in words:
        assert word in str(error.value)


class SilentDropout(nn.Module):
    """Dropout by numpy, which torch does not see."""

    p = 0.3

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * torch.from_numpy(np.random.random(x.shape) > self.p) / (1 - self.p)


def test_silent_custom_dropout_is_refused_by_name() -> None:
    net = nn.Sequential(nn.Dropout(0.5), SilentDropout())
    refused(net, torch.ones(2, 5), "'1'", "SilentDropout", "numpy's random numbers", "ignore='1'")
    assert len(plan_of(net, torch.ones(2, 5), ignore=("1",)).sites) == 1


def test_custom_class_over_torch_dropout_is_locked() -> None:
    class MyDropout(nn.Module):
        p = 0.3

        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(x, self.p, self.training)

    assert [site.name for site in plan_of(nn.Sequential(MyDropout()), torch.ones(2, 5)).sites] == ["0"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_is_refused() -> None:
    inner = nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.5))
    scripted = torch.jit.script(inner.eval())
    refused(scripted, torch.ones(2, 5), "TorchScript")
    mixed = nn.Sequential(nn.Dropout(0.5), scripted)
    refused(mixed, torch.ones(2, 5), "'1'", "TorchScript")
    assert [site.name for site in plan_of(mixed, torch.ones(2, 5), ignore=("1",)).sites] == ["0"]
    assert not mixed[0]._forward_hooks
    assert not mixed[0]._forward_pre_hooks


def test_packed_sequences_are_refused() -> None:
    def run(s: Any, x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, [7] * len(x), batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(s.rnn(packed)[0], batch_first=True)[0]

    def net(p: float) -> nn.Module:
        return Net(run, rnn=nn.LSTM(5, 4, 2, dropout=p, batch_first=True), first=nn.Dropout(0.5))

    refused(net(0.3), torch.ones(2, 7, 5), "LSTM", "packed")
    with pytest.raises(NoRandomSiteError):  # without dropout in it the LSTM itself is fine
        plan_of(net(0.0), torch.ones(2, 7, 5))


@pytest.mark.parametrize(
    ("drop", "shape"),
    [(nn.Dropout1d(0.5), (5,)), (nn.Dropout3d(0.5), (4, 3, 3)), (nn.Dropout2d(0.5), (5,))],
)
@pytest.mark.filterwarnings("ignore:dropout2d")
def test_channel_dropout_that_would_drop_rows_is_refused(
    drop: nn.Module, shape: tuple[int, ...]
) -> None:
    refused(nn.Sequential(drop), torch.ones(2, *shape), type(drop).__name__.lower(), "channels")


def test_channel_dropout_with_the_batch_second_is_refused() -> None:
    net = Net(lambda s, x: s.drop(x.transpose(0, 1)).transpose(0, 1), drop=nn.Dropout1d(0.5))
    refused(net, torch.rand(3, 4, 6), "'drop'", "the batch")


@pytest.mark.parametrize(
    "noise",
    [
        lambda x: x + torch.from_numpy(np.random.normal(size=x.shape)).to(x.dtype),
        lambda x: F.gumbel_softmax(x),
        lambda x: x + torch.empty_like(x).geometric_(0.5),
    ],
    ids=["numpy", "gumbel_softmax", "geometric_"],
)
def test_other_randomness_is_refused(noise: Callable[[Tensor], Tensor]) -> None:
    net = nn.Sequential(nn.Dropout(0.5), Net(lambda _, x: noise(x)))
    refused(net, torch.ones(2, 5), "this randomness cannot be locked")


def test_guard_that_hides_more_than_dropout_is_refused() -> None:
    net = dense(lambda s, h: 2 * F.dropout(h, 0.4) if s.training else h)
    refused(net, torch.ones(2, 5), "only in training mode", "without a condition")


def test_native_dropout_is_refused() -> None:
    net = Net(lambda _, x: torch.native_dropout(x, 0.5, True)[0])
    refused(net, torch.ones(2, 5), "native_dropout")


def test_pairs_of_inputs_are_refused() -> None:
    net = Net(lambda s, x: x + s.drop(x @ x.T).diagonal()[:, None], drop=nn.Dropout(0.5))
    refused(net, torch.rand(2, 5), "'drop'", "none of its axes")


def test_number_of_calls_that_depends_on_the_batch_is_refused() -> None:
    def run(s: Any, x: Tensor) -> Tensor:
        return torch.stack([s.drop(row) for row in x])

    refused(Net(run, drop=nn.Dropout(0.5)), torch.ones(2, 5), "depends on the batch")


def test_number_of_calls_that_depends_on_the_data_is_an_error() -> None:
    net = Net(lambda s, x: s.drop(s.drop(x)) if x.max() > 10 else s.drop(x), drop=nn.Dropout(0.5))
    model, bank = LockedModel(net), MaskBank(SEED)
    with model.borrow():
        model.outputs(torch.ones(2, 5), 0, bank)
        with pytest.raises(ModelError, match="must not depend on the data"):
            model.outputs(torch.full((2, 5), 11.0), 0, bank)


def test_no_dropout_is_an_error_that_says_so() -> None:
    with pytest.raises(NoRandomSiteError, match="nothing is random in the model"):
        plan_of(nn.Linear(5, 3), torch.ones(2, 5))
    with pytest.raises(NoRandomSiteError, match="1: p = 0"):
        plan_of(nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.0)), torch.ones(2, 5))
    one_layer = Net(lambda s, x: s.rnn(x)[0], rnn=nn.LSTM(5, 4, batch_first=True))
    with pytest.raises(NoRandomSiteError):
        plan_of(one_layer, torch.ones(2, 7, 5))


@pytest.mark.parametrize("kind", [nn.Dropout, nn.AlphaDropout])
def test_p_of_one_is_refused(kind: type[nn.Module]) -> None:
    with pytest.raises(ModelError, match=r"module '1'\) has p = 1"):
        plan_of(nn.Sequential(nn.Linear(5, 3), kind(1.0)), torch.ones(2, 5))


def test_p_of_zero_is_idle_and_not_a_site() -> None:
    net = nn.Sequential(nn.Dropout(0.0), nn.Dropout(0.5), nn.Dropout(0.3))
    net.unused = nn.Dropout(0.2)  # type: ignore[assignment]
    used = Net(lambda s, x: s.net[1](s.net[0](x)), net=net)
    plan = plan_of(used, torch.ones(2, 5))
    assert [site.name for site in plan.sites] == ["net.1"]
    assert plan.idle == {
        "net.0": "p = 0",
        "net.2": "not called by the forward pass",
        "net.unused": "not called by the forward pass",
    }


def test_what_comes_before_the_first_site() -> None:
    net = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))
    assert plan_of(net, torch.ones(2, 5)).before_first_site == ("0", "1")


@pytest.mark.parametrize("drop", [nn.Dropout(0.5, inplace=True), nn.AlphaDropout(0.5, inplace=True)])
def test_model_that_writes_into_its_input(drop: nn.Module) -> None:
    """ReLU and dropout in place on the input itself: neither later draws nor the user's array."""
    net = nn.Sequential(nn.ReLU(inplace=True), drop, nn.Linear(5, 3)).double()
    x = inputs(CASES["Dropout"])
    own = x.clone()
    model, bank = LockedModel(net), MaskBank(SEED)
    with model.borrow():
        first = [model.outputs(x, d, bank) for d in (0, 1, POINT)]
        again = [model.outputs(x, d, bank) for d in (POINT, 1, 0)]
        alone = model.outputs(x[:1], 0, bank)
    assert torch.equal(x, own)
    for a, b in zip(first, reversed(again), strict=True):
        assert torch.equal(a, b)
    torch.testing.assert_close(alone, first[0][:1], **TIGHT)
    with torch.no_grad():
        expected = net[2](own.relu())
    torch.testing.assert_close(first[2], expected, **TIGHT)
