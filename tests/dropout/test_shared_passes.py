"""What comes before the first random number is run once for a batch, and nothing else changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import networks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import fixed, one_hot
from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import take
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.prefix import Prefix
from kipoi_mcdropout.dropout.shared_passes import SharedPasses, Sharing
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.engine.incremental.example import example_batch
from kipoi_mcdropout.model.ensemble import Ensemble
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.predict import PredictionOptions, predict_batch
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

N_DRAWS, BATCH, BUDGET = 5, 4, 10**9
PASSES = [POINT, *range(N_DRAWS)]
CALLS: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


class Counted(nn.Conv1d):
    """A convolution that counts its calls by its name."""

    def __init__(self, name: str = "conv", n: int = 4) -> None:
        super().__init__(n, 4, 5, padding=2)
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        CALLS[self.name] += 1
        return super().forward(x)


class Net(nn.Module):
    """A body before the dropout, by code of a test, and a dense layer behind it."""

    def __init__(self, body: Callable[[Net, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.body = body
        for name, part in parts.items():
            self.add_module(name, part)
        self.drop, self.dense = nn.Dropout(0.3), nn.Linear(160, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.drop(self.body(self, x)).flatten(1))


class Scaled(nn.Module):
    """Writes into its input and returns it."""

    def forward(self, x: Tensor) -> Tensor:
        CALLS["scaled"] += 1
        return x.mul_(2)


class Spoils(nn.Module):
    """Writes into its input and returns something else."""

    def forward(self, x: Tensor) -> Tensor:
        CALLS["spoils"] += 1
        y = x * 3
        x.add_(1)
        return y


class Keeps(nn.Module):
    """Keeps what it has seen in an attribute."""

    def forward(self, x: Tensor) -> Tensor:
        CALLS["keeps"] += 1
        self.seen = x.mean(dim=2, keepdim=True)
        return x + 1


class Parts(nn.Module):
    """Returns a list, which its caller may change."""

    def forward(self, x: Tensor) -> list[Tensor]:
        CALLS["parts"] += 1
        return [x + 1, x + 2]


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, None, int]:
        CALLS["pair"] += 1
        return x * 2, None, 3


class Block(nn.Module):
    """A module that calls another one, which is called elsewhere too."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.inner(x))


class Table(nn.Module):
    """Returns its own weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4, 40))

    def forward(self, _: Tensor) -> Tensor:
        CALLS["table"] += 1
        return self.weight


class NoiseMaker(nn.Module):
    """Makes random numbers that are compared only later."""

    def forward(self, x: Tensor) -> Tensor:
        CALLS["maker"] += 1
        return torch.rand(len(x), 4, 40)


def in_place(net: Any, x: Tensor) -> Tensor:
    return F.relu(net.conv(x), inplace=True).mul_(1.5)


def twice(net: Any, x: Tensor) -> Tensor:
    return net.conv(net.conv(x))


def shared_inner(net: Any, x: Tensor) -> Tensor:
    return net.block(x) + net.conv(x) + net.conv(2 * x)


def spoiled(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    return net.spoils(y) + y


def kept(net: Any, x: Tensor) -> Tensor:
    y = net.keeps(net.conv(x))
    return y * net.keeps.seen


def listed(net: Any, x: Tensor) -> Tensor:
    parts = net.parts(net.conv(x))
    parts.append(parts[0] * 3)
    return sum(parts)


def late_write(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    z = net.same(y)  # y itself
    y.add_(1)
    return z + net.last(y)


def from_table(net: Any, x: Tensor) -> Tensor:
    return net.conv(x) + net.table(x)


def made_early(net: Any, x: Tensor) -> Tensor:
    u = net.maker(x)
    return net.conv(x) * (u > 0.4)


def scaled_input(net: Any, x: Tensor) -> Tensor:
    return net.scaled(x) + net.conv(x)


def paired(net: Any, x: Tensor) -> Tensor:
    first, _, factor = net.pair(net.conv(x))
    return first * factor


def in_sequential(net: Any, x: Tensor) -> Tensor:
    return net.seq(x)


def sequential(*parts: nn.Module) -> dict[str, nn.Module]:
    return {"seq": nn.Sequential(*parts)}


def block_and_conv() -> dict[str, nn.Module]:
    conv = Counted()
    return {"block": Block(conv), "conv": conv}


# Name: the body, its modules, and what runs in each of PASSES ("all"), or only once ("once").
CASES: dict[str, tuple[Callable[..., Tensor], Callable[[], dict[str, nn.Module]], dict[str, str]]] = {
    "plain": (lambda net, x: net.conv(x), lambda: {"conv": Counted()}, {"conv": "once"}),
    "in place": (in_place, lambda: {"conv": Counted()}, {"conv": "copied"}),
    "called twice": (twice, lambda: {"conv": Counted()}, {"conv": "once"}),
    "inside another": (shared_inner, block_and_conv, {"conv": "once"}),
    "writes into its input": (
        spoiled, lambda: {"conv": Counted(), "spoils": Spoils()}, {"conv": "copied", "spoils": "all"},
    ),
    "keeps an attribute": (
        kept, lambda: {"conv": Counted(), "keeps": Keeps()}, {"conv": "once", "keeps": "all"},
    ),
    "returns a list": (
        listed, lambda: {"conv": Counted(), "parts": Parts()}, {"conv": "once", "parts": "all"},
    ),
    "returns a tuple": (
        paired, lambda: {"conv": Counted(), "pair": Pair()}, {"conv": "once", "pair": "once"},
    ),
    "written into later": (
        late_write, lambda: {"conv": Counted(), "same": nn.Identity(), "last": Counted("last")},
        {"conv": "copied", "last": "once"},
    ),
    "returns its weights": (
        from_table, lambda: {"conv": Counted(), "table": Table()}, {"conv": "once", "table": "all"},
    ),
    "writes into the model's input": (
        scaled_input, lambda: {"conv": Counted(), "scaled": Scaled()},
        {"conv": "once", "scaled": "all"},
    ),
    "random numbers made early": (
        made_early, lambda: {"conv": Counted(), "maker": NoiseMaker()}, {"conv": "all", "maker": "all"},
    ),
    "sequential": (
        in_sequential,
        lambda: sequential(
            Counted("a"), nn.ReLU(inplace=True), Counted("b"), Scaled(), nn.Dropout(0.2), Counted("c")
        ),
        {"a": "once", "b": "once", "scaled": "once", "c": "all"},
    ),
    "sequential that writes into its input": (
        in_sequential, lambda: sequential(Scaled(), Counted("a"), nn.Dropout(0.2), Counted("c")),
        {"scaled": "all", "a": "once", "c": "all"},
    ),
    "sequential in a sequential": (
        in_sequential,
        lambda: sequential(
            Counted("a"), nn.Sequential(Counted("b"), nn.Dropout(0.2), Counted("c")), nn.ReLU()
        ),
        {"a": "once", "b": "once", "c": "all"},
    ),
    "a module twice in a sequential": (
        in_sequential, lambda: (lambda a: sequential(a, nn.ReLU(), a, nn.Dropout(0.2), a))(Counted("a")),
        {"a": "mixed"},
    ),
}  # fmt: skip


def made(case: str) -> tuple[LockedModel, dict[str, str]]:
    body, parts, expected = CASES[case]
    return LockedModel(fixed(Net(body, **parts()))), expected


def plain(model: LockedModel, x: Tensor, draws: list[int] = PASSES) -> Tensor:
    return torch.stack([model.outputs(x, draw, MaskBank(0)) for draw in draws])


def together(model: LockedModel, x: Tensor, budget: int = BUDGET) -> Tensor:
    shared = SharedPasses(budget)
    return torch.stack([model.outputs(x, draw, MaskBank(0), shared=shared) for draw in PASSES])


def sharing_of(model: LockedModel) -> Sharing:
    (sharing,) = model._sharing.values()
    return sharing


@pytest.mark.parametrize("case", CASES)
def test_same_bits_and_the_prefix_once_for_each_batch(case: str) -> None:
    model, expected = made(case)
    batches = [torch.from_numpy(one_hot(BATCH, seed=i)) for i in range(3)]
    with model.borrow():
        whole = [plain(model, x) for x in batches]
        CALLS.clear()
        plain(model, batches[0])
        in_plain = dict(CALLS)
        found = [together(model, x) for x in batches[:2]]
        CALLS.clear()
        found.append(together(model, batches[2]))  # by now the passes are found and checked
    assert all(torch.equal(a, b) for a, b in zip(found, whole, strict=True))
    assert not sharing_of(model).is_off
    for name, how in expected.items():
        calls, of_plain = CALLS[name], in_plain[name]
        if how in ("once", "copied"):
            assert calls == of_plain / len(PASSES)
        elif how == "all":
            assert calls == of_plain
        else:
            assert of_plain / len(PASSES) < calls < of_plain
    assert bool(sharing_of(model).copies) == ("copied" in expected.values())


@pytest.mark.parametrize("case", CASES)
def test_the_model_is_as_it_was(case: str) -> None:
    model, _ = made(case)
    before = [dict(part.__dict__) for part in model.module.modules()]
    with model.borrow():
        together(model, torch.from_numpy(one_hot(BATCH)))
    after = [part.__dict__ for part in model.module.modules()]
    assert [list(own) for own in after] == [list(own) for own in before]


def test_a_forward_of_its_own_is_put_back_also_after_an_error() -> None:
    model, _ = made("plain")

    def fails(_: Tensor) -> Tensor:
        raise RuntimeError("broken")

    x = torch.from_numpy(one_hot(BATCH))
    with model.borrow():
        together(model, x)
        model.module.conv.forward = fails
        with pytest.raises(Exception, match="broken"):
            together(model, x)
        assert model.module.conv.__dict__["forward"] is fails


def test_only_the_last_result_of_a_sequential_is_kept() -> None:
    model, _ = made("sequential")
    with model.borrow():
        together(model, torch.from_numpy(one_hot(BATCH)))
    prefix = sharing_of(model).prefix
    assert prefix is not None
    assert prefix.ends == {("seq.3", 0)}
    assert set(prefix.passed_over) == {("seq.0", 0), ("seq.1", 0), ("seq.2", 0)}


def test_hooks_of_the_user_are_called_in_each_pass() -> None:
    model, _ = made("sequential in a sequential")
    model.module.seq[1][0].register_forward_hook(lambda *_: CALLS.update(["hook"]))
    x = torch.from_numpy(one_hot(BATCH))
    with model.borrow():
        together(model, x)
        CALLS.clear()
        together(model, x)
    assert CALLS["hook"] == CALLS["b"] == len(PASSES)
    assert CALLS["a"] == 1


def test_nothing_is_kept_beyond_the_budget() -> None:
    model, _ = made("plain")
    x = torch.from_numpy(one_hot(BATCH))
    n_bytes = BATCH * 4 * 40 * 4
    with model.borrow():
        whole = plain(model, x)
        together(model, x)
        for budget, calls in ((n_bytes - 1, len(PASSES)), (n_bytes, 1)):
            CALLS.clear()
            assert torch.equal(together(model, x, budget), whole)
            assert CALLS["conv"] == calls


def test_what_is_not_equal_is_seen_and_each_pass_is_a_plain_one_then() -> None:
    model, _ = made("called twice")
    x = torch.from_numpy(one_hot(BATCH))
    with model.borrow():
        whole = plain(model, x)
        sharing = Sharing(model.module)
        # A wrong prefix: the second call in place of what comes after it.
        wrong = ("conv", 1), ("dense", 0)
        inside: dict[Any, Counter[str]] = {key: Counter() for key in wrong}
        sharing.prefix = Prefix(frozenset({wrong[0]}), {wrong[1]: wrong[0]}, inside)
        model.outputs(x, 0, MaskBank(0), shared=SharedPasses(BUDGET))
        (key,) = model._sharing
        model._sharing[key] = sharing
        assert torch.equal(together(model, x), whole)
    assert sharing.is_off


class Guarded(nn.Module):
    """Other things before the dropout in training mode: what `lifted` modules may do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dense = Counted(), nn.Linear(160, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.training:
            x = F.dropout(x, 0.3)
        return self.dense(x.flatten(1))


def test_dropout_under_a_condition() -> None:
    model = LockedModel(fixed(Guarded()))
    x = torch.from_numpy(one_hot(BATCH))
    with model.borrow():
        whole = plain(model, x)
        together(model, x)
        CALLS.clear()
        assert torch.equal(together(model, x), whole)
    assert CALLS["conv"] == 2  # with dropout off, and for all draws


class Squeezed(nn.Module):
    """Squeezes a batch of one away, so each lone input is run twice beside itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop, self.dense = Counted(), nn.Dropout(0.3), nn.Linear(160, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.drop(self.conv(x)).flatten(1)).squeeze(0)


def test_a_model_that_takes_no_batch_of_one() -> None:
    model = LockedModel(fixed(Squeezed()))
    x = torch.from_numpy(one_hot(1))
    with model.borrow():
        assert not model.takes_one(x)
        whole = plain(model, x)
        together(model, x)
        CALLS.clear()
        assert torch.equal(together(model, x), whole)
    assert CALLS["conv"] == 1


SIZES: dict[str, dict[str, Any]] = {
    "deepsea": {"length": 180, "n_outputs": 5, "width": 0.02},
    "deepsea_both_strands": {"length": 180, "n_outputs": 5, "width": 0.02},
    "beluga": {"length": 330, "n_outputs": 5, "width": 0.02},
    "basset": {"length": 200, "n_outputs": 5, "width": 0.03},
    "bpnet": {"length": 60, "width": 0.1},
    "danq": {"length": 110, "n_outputs": 5, "width": 0.02},
    "transformer": {"length": 80, "n_outputs": 5, "width": 0.1},
}


@pytest.mark.parametrize("family", SIZES)
def test_the_full_engine_shares_them(family: str) -> None:
    net = networks.build(family, 0, **SIZES[family])
    model, masks = LockedModel(net), MaskBank(0)
    x = networks.random_sequences(net, 2, 1)
    layout = OneHotLayout(net.input_shape, net.category_axis)
    batch = example_batch(x, None, layout, 10)
    calls: Counter[str] = Counter()
    handles = [
        part.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, part in net.named_modules()
    ]
    with model.borrow():
        inputs = torch.from_numpy(np.asarray(batch.inputs(slice(0, 10))))
        parts = [inputs[:4], inputs[4:8], inputs[8:]]
        whole = torch.stack([torch.cat([model.outputs(p, d, masks) for p in parts]) for d in PASSES])
        ref = torch.stack([model.outputs(torch.from_numpy(batch.references), d, masks) for d in PASSES])
        for handle in handles:
            handle.remove()
        blocks = list(FullEngine(model, masks, 4).run(batch, PASSES))
    slices = [torch.cat([b.alt for b in blocks if b.mutants.start == start]) for start in (0, 4, 8)]
    alt = torch.cat(slices, dim=1)
    assert torch.equal(alt, whole)
    assert torch.equal(torch.cat([b.ref for b in blocks[: len(PASSES)]]), ref)
    assert sharing_of(model).is_checked
    prefix = sharing_of(model).prefix
    assert prefix is not None
    before = set(model.plan(inputs).before_first_site)
    inside = {name for key in prefix.inside for name in (key[0], *prefix.inside[key])}
    heavy = {n for n, p in net.named_modules() if isinstance(p, (nn.Conv1d, nn.Conv2d, nn.Linear))}
    assert before & heavy
    assert before & heavy <= inside


def test_predictions_share_them() -> None:
    model, _ = made("plain")
    ready = Model(model.module)
    x = one_hot(6)
    options = PredictionOptions(n_draws=N_DRAWS, batch_size=3, keep_draws=True)
    first = predict_batch(ready.ensemble, x, options, MaskBank(0))
    CALLS.clear()
    predict_batch(ready.ensemble, x, options, MaskBank(0))
    assert CALLS["conv"] == 2 + 1  # two batches; and the example that names the outputs
    assert first.draws is not None
    with model.borrow():
        whole = [plain(model, torch.from_numpy(take(x, slice(a, a + 3)))) for a in (0, 3)]
    assert np.array_equal(first.draws, torch.cat(whole, dim=1)[1:].numpy())
    assert isinstance(ready.ensemble, Ensemble)
