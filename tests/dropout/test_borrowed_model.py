"""The user's model is as it was after every call: in several threads, compiled, and after errors."""

from __future__ import annotations

import copy
import gc
import queue
import random
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kipoi_mcdropout.dropout.borrow import borrowed
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel, locked_forward
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.errors import ModelError, ModelForwardError, UnlockableDropoutError
from kipoi_mcdropout.model.adapter import KipoiModel

SEED = 2


def state(model: nn.Module) -> dict[str, Any]:
    """All that a caller could see changed."""
    return {
        "weights": {name: value.clone() for name, value in model.state_dict().items()},
        "attributes": [
            {k: copy.copy(v) if type(v) in (dict, list) else v for k, v in vars(part).items()}
            for part in model.modules()
        ],
        "hooks": [(list(p._forward_hooks), list(p._forward_pre_hooks)) for p in model.modules()],
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch": bytes(torch.get_rng_state().numpy()),
        "numpy": np.random.get_state()[1].tobytes(),  # type: ignore[union-attr]
        "python": random.getstate(),
    }


def assert_untouched(model: nn.Module, before: dict[str, Any]) -> None:
    after = state(model)
    for name in ("hooks", "grad mode", "torch", "numpy", "python"):
        assert after[name] == before[name], name
    assert all(torch.equal(value, before["weights"][k]) for k, value in after["weights"].items())
    for ours, theirs in zip(after["attributes"], before["attributes"], strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert ours[key] is value or ours[key] == value, key


class Caching(nn.Module):
    """Keeps in its forward pass: a tensor, a counter, entries of a dict and a list, a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(4, 4), nn.Dropout(0.5)
        self.calls, self.by_length, self.seen = 0, {0: None}, [0]
        self.pos: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.pos is None:
            self.pos = torch.arange(4).float()
            self.register_buffer("table", torch.ones(4))
        if 4 not in self.by_length:
            self.by_length[4] = torch.arange(4).float()
        self.seen.append(len(x))
        self.last = x
        return self.drop(self.linear(x + self.pos + self.by_length[4]))


@pytest.mark.parametrize("raises", [False, True])
def test_what_the_forward_pass_keeps_is_gone_afterwards(raises: bool) -> None:
    net = Caching()
    net.drop.eval()
    before = state(net)
    model, x = LockedModel(net), torch.ones(2, 4)
    if raises:
        with pytest.raises(ZeroDivisionError), model.borrow():  # noqa: PT012
            model.outputs(x, 0, MaskBank(SEED))
            raise ZeroDivisionError
    else:
        with model.borrow():
            model.outputs(x, 0, MaskBank(SEED))
            assert net.calls > 0
            assert 4 in net.by_length
            assert net.pos is not None
    assert_untouched(net, before)
    assert not hasattr(net, "table")
    assert not hasattr(net, "last")


CACHE: dict[str, Tensor] = {}


class CachingElsewhere(nn.Module):
    """Keeps its positions outside of itself; a layer that needs its input for gradients follows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        if "pos" not in CACHE:
            CACHE["pos"] = torch.arange(4).float()
        return self.last(self.drop(self.first(x)) * CACHE["pos"])


@pytest.mark.parametrize("build", [Caching, CachingElsewhere])
def test_a_model_with_a_cache_can_be_trained_afterwards(build: Callable[[], nn.Module]) -> None:
    """Tensors made in inference mode "cannot be saved for backward"."""
    CACHE.clear()
    net, x = build(), torch.rand(3, 4)
    locked_forward(net, x, 0, SEED)
    net.train()(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    CACHE.clear()


def test_a_model_that_writes_into_its_input_and_buffers() -> None:
    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.register_buffer("n", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.n += 1
            return self.drop(x.add_(1.0))

    net, x = Writing(), torch.rand(2, 4)
    own = x.clone()
    with torch.inference_mode():  # inputs made here must do too
        also = x.clone()
    torch.testing.assert_close(locked_forward(net, x, POINT, SEED), own + 1)
    torch.testing.assert_close(locked_forward(net, also, POINT, SEED), own + 1)
    assert torch.equal(x, own)
    assert net.n.item() == 0


# --- threads -------------------------------------------------------------------------------------


class Meeting(nn.Module):
    """Tells when its forward pass begins, and whether another thread is inside."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(4, 4), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        INSIDE.append(threading.get_ident())
        OVERLAPS.append(len(set(INSIDE)) > 1)
        y = self.drop(self.linear(x))
        INSIDE.remove(threading.get_ident())
        return y


INSIDE: list[int] = []
OVERLAPS: list[bool] = []


def in_threads(works: list[Callable[[], Any]]) -> list[Any]:
    """Results of functions that start together, each in a thread of its own."""
    start, results = threading.Barrier(len(works)), [None] * len(works)
    errors: queue.Queue[BaseException] = queue.Queue()

    def run(i: int) -> None:
        start.wait()
        try:
            results[i] = works[i]()
        except BaseException as error:  # noqa: BLE001 (the main thread raises it again)
            errors.put(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not errors.empty():
        raise errors.get()
    return results


def test_one_model_from_several_threads_is_as_from_one() -> None:
    net = Meeting().train()
    net.drop.eval()
    xs = [torch.rand(3, 4) for _ in range(4)]
    expected = [[locked_forward(net, x, draw, SEED) for draw in range(6)] for x in xs]
    before = state(net)
    OVERLAPS.clear()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places all the time
    try:
        got = in_threads(
            [lambda x=x: [locked_forward(net, x, draw, SEED) for draw in range(6)] for x in xs]
        )
    finally:
        sys.setswitchinterval(interval)
    for mine, theirs in zip(got, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert len(OVERLAPS) > 24
    assert not any(OVERLAPS)
    assert_untouched(net, before)


def test_different_models_run_at_the_same_time() -> None:
    """Each waits, in its own forward pass, for the other's."""
    both = threading.Barrier(2)

    class Waiting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.drop, self.wait = nn.Linear(4, 4), nn.Dropout(0.5), False

        def forward(self, x: Tensor) -> Tensor:
            if self.wait:
                both.wait()
            return self.drop(self.linear(x))

    nets, x = [Waiting(), Waiting()], torch.rand(3, 4)
    expected = [locked_forward(net, x, 0, SEED) for net in nets]

    def run(net: Waiting) -> Tensor:
        model = LockedModel(net)
        with model.borrow():
            model.plan(x)
            net.wait = True
            return model.outputs(x, 0, MaskBank(SEED))

    got = in_threads([lambda net=net: run(net) for net in nets])
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert not any(net.wait for net in nets)  # set while borrowed: it is as it was


def test_a_thread_may_borrow_again_what_it_holds() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    with borrowed(net):
        locked_forward(net, torch.rand(2, 4), 0, SEED)
        assert not net.training
    assert net.training
    assert net[1].training


def test_a_model_is_free_between_the_results_of_a_generator() -> None:
    """A consumer that stops halfway keeps no other thread waiting."""
    from toy import ToyNet

    from kipoi_mcdropout.plugin.mutation import MCDropoutISM

    net = ToyNet()
    x = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (2, 24))]
    ism = MCDropoutISM(net, 0, n_draws=2, end=2)
    results = ism.effects(x)
    next(results)
    ((other,),) = in_threads([lambda: [locked_forward(net, torch.from_numpy(x), 0, SEED)]])
    assert other.shape == (2, 3)
    assert len(list(results)) == 1


def test_the_lock_does_not_keep_a_model_alive() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    locked_forward(net, torch.rand(2, 4), 0, SEED)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


# --- torch.compile -------------------------------------------------------------------------------


def no_compiler(_graph: Any, _example: Any) -> Any:
    """A backend that must not be called."""
    raise AssertionError("the compiler was called")


def compiled(module: nn.Module) -> Any:
    return torch.compile(module, backend=no_compiler)


def test_compiled_models_are_run_uncompiled() -> None:
    inner = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    parts = nn.Sequential(compiled(inner[:2]), inner[2])
    in_place = copy.deepcopy(inner)
    in_place[0].compile(backend=no_compiler)
    x = torch.rand(3, 4)
    for draw in (0, POINT):
        expected = locked_forward(inner, x, draw, SEED)
        for net in (compiled(inner), parts, in_place):
            assert torch.equal(locked_forward(net, x, draw, SEED), expected)
    with pytest.raises(Exception, match=r"the compiler was called|BackendCompilerFailed"):
        compiled(inner)(x)  # the setting is as before


def test_compiled_model_in_a_kipoi_model_and_in_every_engine() -> None:
    from toy import ToyNet

    from kipoi_mcdropout.plugin.mutation import MCDropoutISM

    net = ToyNet()
    x = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (1, 24))]
    expected = MCDropoutISM(net, 0, n_draws=3, engine="full").score(x)["diff"]["effect_sd"]
    net_with_compiled_part = ToyNet()
    net_with_compiled_part.load_state_dict(net.state_dict())
    net_with_compiled_part.conv = compiled(net_with_compiled_part.conv)
    for model in (compiled(net), net_with_compiled_part):
        assert KipoiModel(model).locked.module.__class__ is ToyNet
        for engine in ("full", "auto", "incremental"):
            got = MCDropoutISM(model, 0, n_draws=3, engine=engine).score(x)["diff"]["effect_sd"]
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-7)


def test_code_that_looks_at_its_data_is_named_with_its_line() -> None:
    from kipoi_mcdropout.engine.incremental.capture import capture
    from kipoi_mcdropout.engine.incremental.capture_error import CaptureError

    class Looking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    net = nn.Sequential(Looking(), nn.Dropout(0.5))
    model, x = LockedModel(net), torch.rand(2, 4) + 0.1
    with model.borrow(), pytest.raises(CaptureError) as error:
        capture(model, x, model.plan(x))
    words = "Tensor.__bool__ in module '0', test_borrowed_model.py line "
    assert words in str(error.value)


def test_the_whole_model_is_named_by_its_class_with_the_line_that_looks_at_its_data() -> None:
    from kipoi_mcdropout.engine.incremental.capture import capture
    from kipoi_mcdropout.engine.incremental.capture_error import CaptureError

    class Looking(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            h = nn.functional.dropout(super().forward(x), 0.5, self.training)
            return h if x.sum() > 0 else -h

    model, x = LockedModel(Looking(4, 2)), torch.rand(2, 4) + 0.1
    with model.borrow(), pytest.raises(CaptureError) as error:
        capture(model, x, model.plan(x))
    words = "Tensor.__bool__ in module 'Looking', test_borrowed_model.py line "
    assert words in str(error.value)


# --- models that cannot run ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["LockedModel", "KipoiModel"])
def test_lazy_modules_without_weights_are_refused_in_one_line(kind: str) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.LazyLinear(2))
    make = LockedModel if kind == "LockedModel" else KipoiModel
    with pytest.raises(
        ModelError, match="module '2' is lazy and has no weights yet: run the model once"
    ):
        make(net)
    net(torch.rand(2, 4))
    assert make(net) is not None


class Failing(nn.Module):
    """Fails in the n-th pass."""

    def __init__(self, fail: Callable[[], None], at: int) -> None:
        super().__init__()
        self.fail, self.at, self.drop = fail, at, nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        PASSES.append(len(x))
        if len(PASSES) >= self.at:
            self.fail()
        return self.drop(x)


PASSES: list[int] = []


def with_value_error() -> None:
    raise ValueError("not today\nand more")


def with_exit() -> None:
    sys.exit(0)


@pytest.mark.parametrize("at", [1, 5, 7, 12])
@pytest.mark.parametrize(
    ("fail", "words"),
    [(with_value_error, "ValueError: not today"), (with_exit, "sys.exit(0)")],
)
def test_a_forward_pass_that_fails_is_one_line_with_module_and_place(
    at: int, fail: Callable[[], None], words: str
) -> None:
    PASSES.clear()
    net, x = nn.Sequential(nn.Linear(4, 4), Failing(fail, at)).train(), torch.rand(3, 4)
    before = state(net)
    model, bank = LockedModel(net), MaskBank(SEED)
    refused = (ModelForwardError, UnlockableDropoutError)  # the latter for a pass in training mode
    with pytest.raises(refused) as error, model.borrow():  # noqa: PT012
        for draw in range(12):
            model.outputs(x, draw, bank)
    text = str(error.value)
    assert words in text
    assert "and more" not in text
    assert "module '1' (Failing), test_borrowed_model.py line " in text
    assert_untouched(net, before)


def test_want_of_memory_is_passed_on_as_it_is() -> None:
    def out_of_memory() -> None:
        raise torch.OutOfMemoryError("none left")

    PASSES.clear()
    with pytest.raises(torch.OutOfMemoryError):
        locked_forward(Failing(out_of_memory, 1), torch.rand(3, 4), 0, SEED)
