"""Random numbers in a forward pass that are no dropout: refused by the name of the module."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from kipoi_mcdropout.errors import InputError, NoRandomSiteError, UnlockableDropoutError
from kipoi_mcdropout.files.provenance import describe_sites
from kipoi_mcdropout.model.audit import audit

SEED = 3
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


class Body(nn.Module):
    """A layer with code of the test's own before the head."""

    def __init__(self, code: Callable[[Any, Tensor], Tensor], guarded: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.code, self.guarded = code, guarded

    def forward(self, x: Tensor) -> Tensor:
        return self.code(self, x) if self.training or not self.guarded else x


def network(code: Callable[[Any, Tensor], Tensor], guarded: bool = True) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), Body(code, guarded), nn.Dropout(0.1), nn.Linear(4, 2))


def plan_of(net: nn.Module, ignore: tuple[str, ...] = ()) -> SitePlan:
    model = LockedModel(net, ignore=ignore)
    with model.borrow():
        return model.plan(torch.rand(2, 4) + 0.1)


def refused(net: nn.Module) -> str:
    """The words of the refusal; the model and the random states are as before."""
    flags = [part.training for part in net.modules()]
    states = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    with pytest.raises(UnlockableDropoutError) as error:
        plan_of(net)
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    assert torch.equal(states[0], after[0])
    assert np.array_equal(states[1], after[1])
    assert states[2] == after[2]
    assert [part.training for part in net.modules()] == flags
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in net.modules())
    return str(error.value)


@torch.library.custom_op("kipoi_mcdropout_tests::drop", mutates_args=())
def custom_drop(x: Tensor) -> Tensor:
    """A dropout in an operator of one's own."""
    return torch.dropout(x, 0.5, True)


def scripted() -> Any:
    def residual(x: Tensor, y: Tensor, training: bool) -> Tensor:
        return x + F.dropout(y, 0.5, training)

    return torch.jit.script(residual)


def layer_drop(_: Any, x: Tensor) -> Tensor:
    return x if random.random() < 0.01 else x + 1.0


LOCAL, LOCAL_TORCH = np.random.default_rng(0), torch.Generator()
SOURCES: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "numpy": (lambda _, x: x * torch.from_numpy(np.random.random(x.shape) > 0.5), "numpy's random"),
    "Python": (layer_drop, "Python's random"),
    "no visible effect": (lambda _, x: (random.random(), x)[1], "Python's random"),
    "custom operator": (lambda _, x: custom_drop(x), "kipoi_mcdropout_tests::drop"),
    "ATen operator": (lambda _, x: x * torch.ops.aten.bernoulli.p(x, 0.5), "aten::bernoulli"),
    "generator of numpy's own": (
        lambda _, x: x * torch.from_numpy(LOCAL.random(x.shape)).float(),
        "random number generator of its own",
    ),
    "generator of torch's own": (
        lambda _, x: x + torch.ops.aten.rand.generator(x.shape, generator=LOCAL_TORCH),
        "random number generator of its own",
    ),
    "other noise": (lambda _, x: x + torch.empty_like(x).exponential_(), "exponential_"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_randomness_beside_a_dropout_is_refused_by_name(name: str, mode: str) -> None:
    code, words = SOURCES[name]
    text = refused(network(code, guarded=mode == "training"))
    assert "module '1' (Body)" in text
    assert words in text
    assert f"{mode} mode" in text
    own = "generator of" in name and mode == "evaluation"  # known by the outputs alone
    assert ("ignore='1'" in text) != own


def test_random_numbers_of_evaluation_mode_may_be_ignored_only_if_nothing_depends_on_them() -> None:
    harmless = network(lambda _, x: x + 0 * random.random(), guarded=False)
    assert "If no output depends on it: ignore='1'" in refused(harmless)
    assert len(plan_of(harmless, ignore=("1",)).sites) == 1
    with pytest.raises(UnlockableDropoutError, match=r"'1' \(Body\) gives another output.*evaluation"):
        plan_of(network(lambda _, x: x + random.random(), guarded=False), ignore=("1",))


@pytest.mark.parametrize("name", SOURCES)
def test_ignored_randomness_of_training_mode_is_left_off(name: str) -> None:
    net = network(SOURCES[name][0])
    assert [site.name for site in plan_of(net, ignore=("1",)).sites] == ["2"]


def test_a_dropout_in_a_scripted_function_is_refused() -> None:
    """Beside a visible dropout it was left off: the sd was .0137 in place of .0238."""
    function = scripted()
    net = network(lambda s, x: function(x, s.linear(x), s.training), guarded=False)
    text = refused(net)
    assert "module '1' (Body)" in text
    assert "aten::bernoulli_" in text
    assert "training mode" in text


def test_all_are_refused_at_once() -> None:
    net = nn.Sequential(
        Body(layer_drop), Body(lambda _, x: x[:, torch.randperm(4)]), nn.Dropout(0.5)
    )  # fmt: skip
    text = refused(net)
    assert "module '0' (Body)" in text
    assert "module '1' (Body)" in text
    assert "ignore=['0', '1']" in text


def test_dropout_of_torch_ops_is_locked() -> None:
    net = network(lambda _, x: torch.ops.aten.dropout(x, 0.3, True))
    assert [(site.name, site.p) for site in plan_of(net).sites] == [("1", 0.3), ("2", 0.1)]


# --- threads -------------------------------------------------------------------------------------


class InThread(nn.Module):
    """Runs its body in a thread, as DataParallel does on several devices."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self.body, x).result()


@pytest.mark.parametrize("head", [nn.Dropout(0.1), nn.Identity()])
def test_dropout_in_another_thread_is_refused(head: nn.Module) -> None:
    """It was left off: the sd was .0218 in place of .0676, or nothing was random."""
    body = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    text = refused(nn.Sequential(InThread(body), head))
    assert "'0.body.1' (Dropout)" in text
    assert "a thread of its own" in text


def test_a_thread_without_dropout_is_fine() -> None:
    net = nn.Sequential(InThread(nn.Linear(4, 4)), nn.Dropout(0.1))
    assert [site.name for site in plan_of(net).sites] == ["1"]


def test_data_parallel_is_unwrapped() -> None:
    inner = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    x = torch.rand(3, 4)
    assert [site.name for site in plan_of(nn.DataParallel(inner)).sites] == ["1"]
    assert torch.equal(
        locked_forward(nn.DataParallel(inner), x, 0, SEED), locked_forward(inner, x, 0, SEED)
    )


def test_random_numbers_of_the_users_other_threads_are_not_the_models() -> None:
    """A thread that goes on drawing random numbers, in step with the model's passes."""
    turn, done = threading.Event(), threading.Event()
    drawn = 0

    def draw() -> None:
        nonlocal drawn
        while turn.wait() and not done.is_set():
            turn.clear()
            random.random()
            drawn += 1
            drew.set()

    drew, calls = threading.Event(), 0

    def code(_: Any, x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 1:  # in the first pass in training mode alone
            turn.set()
            drew.wait()
        return x

    worker = threading.Thread(target=draw)
    worker.start()
    try:
        assert len(plan_of(network(code)).sites) == 1
    finally:
        done.set()
        turn.set()
        worker.join()
    assert drawn == 1


# --- models that cannot run in training mode -----------------------------------------------------


class NeedsLabels(nn.Module):
    """As detection models do: in training mode it wants more than the input."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise ValueError("labels are required in training mode")
        return self.inner(x)


def test_a_model_that_cannot_run_in_training_mode_is_refused() -> None:
    guarded = Body(lambda _, x: F.dropout(x, 0.5))
    net = nn.Sequential(guarded, NeedsLabels(), NeedsLabels(), nn.Dropout(0.1))
    text = refused(net)
    assert "cannot run in training mode" in text
    assert "ValueError: labels are required" in text
    assert "'1' (NeedsLabels" in text
    assert "'2' (NeedsLabels" in text
    assert "test_randomness_sources.py line" in text
    assert "ignore=['1', '2']" in text
    plan = plan_of(net, ignore=("1", "2"))
    assert [(s.name, s.p) for s in plan.sites] == [
        ("0", 0.5), ("1.inner", 0.0), ("2.inner", 0.0), ("3", 0.1)
    ]  # fmt: skip


# --- ignore --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "near"), [("encoder.2", "'encoder.1'"), ("droput", "'dropout'"), ("zzz", "'Sequential'")]
)
def test_ignore_of_an_unknown_name_is_an_error_that_lists_near_names(name: str, near: str) -> None:
    net = nn.Sequential()
    net.encoder = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    net.dropout = nn.Dropout(0.1)
    with pytest.raises(InputError, match="ignore must name modules") as error:
        LockedModel(net, ignore=(name,))
    assert repr(name) in str(error.value)
    assert near in str(error.value)


@pytest.mark.parametrize("name", ["1", "block", "block.0"])
def test_ignored_dropout_is_really_left_off_and_the_other_masks_stay(name: str) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    net.block = nn.Sequential(nn.Dropout(0.25))
    x = torch.rand(3, 4)
    model = LockedModel(net, ignore=(name,))
    with model.borrow():
        plan = model.plan(x)
        got = model.outputs(x, 0, MaskBank(SEED))
        expected = net[0](x)
    ps = [0.0, 0.25] if name == "1" else [0.5, 0.0]
    for site, p in enumerate(ps):
        keep = torch.from_numpy(keep_mask(SEED, 0, site, (1, 4), p))
        expected = expected * keep / (1 - p)
    torch.testing.assert_close(got, expected)
    assert [site["p"] for site in describe_sites(plan)] == ps
    off = "1" if name == "1" else "block.0"
    assert f"{off}: dropout is off, as requested" in plan.notes
    rows = audit(net, x.numpy(), (name,)).rows
    assert [row.locked for row in rows if row.name == off] == ["off, as requested"]
    assert len(rows) == 2


def test_ignoring_every_dropout_leaves_nothing_random() -> None:
    with pytest.raises(NoRandomSiteError):
        plan_of(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), ignore=("1",))


def test_ignored_code_of_the_models_own_forward_pass() -> None:
    """The class's name stands for what the model calls itself, not for the modules inside."""
    net = Body(lambda s, x: F.dropout(s.linear(x), 0.5), guarded=False)
    net.linear = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.25))  # type: ignore[assignment]
    assert [(s.name, s.p) for s in plan_of(net, ignore=("Body",)).sites] == [
        ("linear.1", 0.25), ("Body", 0.0)
    ]  # fmt: skip


def test_a_module_in_two_places_may_be_ignored_by_either_name() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.1))
    net.again = net[0]
    plan = plan_of(net, ignore=("again",))
    assert [site.p for site in plan.sites] == [0.0, 0.1, 0.0]


def test_ignored_dropout_in_the_incremental_engine() -> None:
    """The captured graph leaves it off too, and lays the masks of the others as before."""
    from kipoi_mcdropout.engine.incremental.capture import capture
    from kipoi_mcdropout.engine.incremental.interpret import Masking, run_nodes

    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4), nn.Dropout(0.25))
    x = torch.rand(3, 4)
    model, bank = LockedModel(net, ignore=("0",)), MaskBank(SEED)
    with model.borrow():
        graph = capture(model, x, model.plan(x))
        assert sum(node.drop is not None for node in graph.nodes) == 1
        for draw in (0, 1, POINT):
            masking = Masking(model.plan(x), bank, 0, model.device)
            values = run_nodes(graph.nodes, {graph.input_paths[""]: x}, 3, draw, masking)
            torch.testing.assert_close(
                values[graph.output[0].index], model.outputs(x, draw, bank)
            )  # fmt: skip
