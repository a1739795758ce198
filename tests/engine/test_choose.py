"""Choice of the engine, and checking it while it runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import choose, collect, error_against_oracle, substitutions
from zoo import LENGTH, build

from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import (
    EngineMismatchError,
    IncrementalEngine,
    RuleError,
    VerifyingEngine,
    describe,
    make_engine,
)
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.engine.incremental.capture_error import CaptureError
from kipoi_mcdropout.engine.incremental.compiled import compile_model
from kipoi_mcdropout.engine.incremental.rules.pointwise import Pointwise
from kipoi_mcdropout.engine.incremental.rules.pooling import MaxPool
from kipoi_mcdropout.engine.incremental.slice_run import SliceRun
from kipoi_mcdropout.engine.pass_work import PassWork, capture_passes
from kipoi_mcdropout.engine.verify import is_rounding
from kipoi_mcdropout.errors import BatchDependenceError, InputError

pytestmark = pytest.mark.usefixtures("small_models_are_captured")


def locked(name: str) -> tuple[LockedModel, MaskBank]:
    return LockedModel(build(name)), MaskBank(3)


def test_engines_by_name() -> None:
    model, bank = locked("deepsea")
    assert isinstance(make_engine(model, bank, engine="full", verify=True), FullEngine)
    assert isinstance(make_engine(model, bank, engine="incremental"), IncrementalEngine)
    assert isinstance(make_engine(model, bank, engine="incremental", verify=True), VerifyingEngine)
    for name in ("fast", "auto"):  # auto is a choice, not an engine
        with pytest.raises(InputError, match=f"'{name}'"):
            make_engine(model, bank, engine=name)


@pytest.fixture
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the smallest networks are worth the incremental engine."""
    monkeypatch.setattr("kipoi_mcdropout.engine.choose._MUST_WORK", 0)


class EverythingChanges(torch.nn.Module):
    """A substitution changes all that follows it, from the first operation on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(4, 6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.dropout(x, 0.3, self.training)
        return self.conv(x.cumsum(2) / 10).relu().mean(2)


@pytest.mark.usefixtures("any_size")
def test_auto_by_the_counted_cost() -> None:
    fast = choose(locked("deepsea")[0], substitutions(LENGTH))
    slow = choose(LockedModel(EverythingChanges().double()), substitutions(LENGTH))
    assert (fast.engine, slow.engine) == ("incremental", "full")
    assert fast.reason == "estimated at 0.58 of the cost of whole inputs"
    assert slow.reason == "estimated at 0.86 of the cost of whole inputs"
    assert not fast.problem
    assert not slow.problem


def test_few_operations_and_short_runs_are_not_worth_it() -> None:
    model, _ = locked("deepsea")
    with pytest.MonkeyPatch.context() as patch:  # nothing is captured
        patch.setattr(IncrementalEngine, "planned", None)
        patch.setattr("kipoi_mcdropout.engine.choose._CAPTURE_SHARE", 0.05)
        few = choose(model, substitutions(LENGTH), n_draws=0)
        more = choose(model, substitutions(LENGTH))
    assert (few.engine, more.engine) == ("full", "full")
    assert "180 forward passes are too few" in few.reason
    assert "the run has 900 forward passes, and to test whether another engine" in more.reason
    assert "few operations" in choose(model, substitutions(LENGTH)).reason


def test_to_capture_costs_more_passes_of_a_model_with_less_work_in_a_call() -> None:
    def passes(width: int, calls: int, n_draws: int = 3, dropout_first: bool = True) -> float:
        layers = [torch.nn.Conv1d(width, width, 5, padding=2) for _ in range(calls)]
        layers.insert(0 if dropout_first else calls, torch.nn.Dropout())
        layers.append(torch.nn.Conv1d(width, 1, 1))
        model = LockedModel(torch.nn.Sequential(torch.nn.Conv1d(4, width, 5), *layers).eval())
        with model.borrow():
            return capture_passes(model, torch.zeros(2, 4, 200), n_draws)

    assert 10 < passes(256, 1) < passes(64, 1) < passes(8, 1)
    assert passes(512, 1) < passes(8, 80)  # many small calls instead of a large one
    # What comes before the first dropout is run once for all draws, so a pass is cheaper.
    assert passes(256, 1, 30) < 20 < 150 < passes(256, 1, 30, dropout_first=False)
    assert passes(256, 1, 0) == pytest.approx(passes(256, 1, 0, dropout_first=False))


@pytest.mark.parametrize(
    ("layer", "shape", "multiplications"),
    [
        (torch.nn.Conv1d(4, 6, 5, groups=2), (2, 4, 20), 2 * 16 * 6 * 2 * 5),
        (torch.nn.ConvTranspose1d(4, 6, 5), (2, 4, 20), 2 * 20 * 4 * 6 * 5),
        (torch.nn.Linear(20, 3), (2, 7, 20), 2 * 7 * 20 * 3),
        (torch.nn.LSTM(4, 3, batch_first=True, bias=False), (2, 9, 4), 2 * 9 * 12 * (4 + 3)),
        (torch.nn.GRU(4, 3, batch_first=True, bias=False), (2, 9, 4), 2 * 9 * 9 * (4 + 3)),
    ],
)
def test_products_are_counted(
    layer: torch.nn.Module, shape: tuple[int, ...], multiplications: int
) -> None:
    with torch.no_grad(), PassWork() as work:
        layer(torch.zeros(shape))
    assert work.operations == 2 * multiplications
    with torch.no_grad(), PassWork() as work:
        torch.zeros(2, 3, 5) @ torch.zeros(2, 5, 7)
    assert work.operations == 2 * 2 * 3 * 5 * 7


@pytest.mark.usefixtures("any_size")
def test_the_choice_depends_on_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = SliceRun.prepare

    def prepare(self, batch, *a, **k):  # type: ignore[no-untyped-def]
        seen.append(batch.codes)
        original(self, batch, *a, **k)

    monkeypatch.setattr(SliceRun, "prepare", prepare)
    choices = {str(choose(locked("deepsea")[0], substitutions(LENGTH, seed=s))) for s in range(3)}
    assert len(choices) == 1
    assert len(seen) == 3
    assert all((codes == seen[0]).all() for codes in seen)


@pytest.mark.usefixtures("any_size")
def test_auto_leaves_a_rule_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Pointwise.run
    monkeypatch.setattr(Pointwise, "run", lambda *a: _scaled(original(*a)))
    choice = choose(locked("deepsea")[0], substitutions(LENGTH))
    assert choice.engine == "full"
    assert choice.problem
    assert "differs by" in choice.reason


def _scaled(window):  # type: ignore[no-untyped-def]
    window.new = window.new * 1.001
    return window


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("method", ["run", "__init__"])
@pytest.mark.parametrize("error", [KeyError, AssertionError, RuntimeError, IndexError, AttributeError])
def test_a_rule_that_raises_is_an_error(
    error: type[Exception], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error("broken")

    monkeypatch.setattr(MaxPool, method, fails)
    model, bank = locked("deepsea")
    batch = substitutions(LENGTH)
    named = r"max_pool1d in module '2' failed .*broken"
    with model.borrow(), pytest.raises(RuleError, match=named):
        list(IncrementalEngine(model, bank).run(batch, [0]))
    choice = choose(model, batch)
    assert choice.engine == "full"
    assert choice.problem
    assert "max_pool1d in module '2' failed" in choice.reason
    assert "Use the engine" not in choice.reason


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("no memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_trial_that_runs_out_of_memory(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(SliceRun, "outputs", fails)
    choice = choose(locked("deepsea")[0], substitutions(LENGTH))
    assert choice.engine == "full"
    assert choice.problem
    assert "not enough memory" in choice.reason


def test_verify_passes_what_is_right_and_counts() -> None:
    model, bank = locked("deepsea")
    batch = substitutions(LENGTH, references=2)
    with model.borrow():
        engine = VerifyingEngine(IncrementalEngine(model, bank), model, bank, share=0.05)
        _, alt = collect(engine, batch, [-1, 0, 1])
        _, expected = collect(FullEngine(model, bank), batch, [-1, 0, 1])
    torch.testing.assert_close(alt, expected, rtol=0, atol=1e-10)
    assert 0.02 * alt.shape[0] * alt.shape[1] < engine.n_checked < 0.1 * alt.shape[0] * alt.shape[1]
    assert engine.largest_error < 1e-10


def test_verify_is_the_same_every_time() -> None:
    model, bank = locked("deepsea")
    batch = substitutions(LENGTH)
    engines = [VerifyingEngine(FullEngine(model, bank), model, bank, 0.05) for _ in range(2)]
    samples = [engine._sample(batch, 30) for engine in engines]
    assert samples[0].keys() == samples[1].keys()
    assert all((samples[0][d] == samples[1][d]).all() for d in samples[0])


def test_verify_stops_by_name() -> None:
    class Wrong(FullEngine):
        def run(self, *arguments):  # type: ignore[no-untyped-def]
            for block in super().run(*arguments):
                yield block._replace(alt=block.alt + 1e-6)

    model, bank = locked("deepsea")
    with model.borrow():
        engine = VerifyingEngine(Wrong(model, bank), model, bank, share=0.001)
        with pytest.raises(EngineMismatchError, match=r"draw 4 .*for mutants"):
            list(engine.run(substitutions(LENGTH), [4]))


def test_the_plan_as_data() -> None:
    model, bank = locked("deepsea")
    with model.borrow():
        plan = IncrementalEngine(model, bank).compiled(substitutions(LENGTH)).plan
    report = describe(plan)
    by_name = {row.operation: row for row in report.rows if row.how == "windows"}
    assert by_name["max_pool1d"].rule == "values on the window and its neighbours"
    assert report.rows[0].width_out == 1
    assert report.rows[1].n_positions == LENGTH - 7
    assert report.rows[1].dense_flops == 2 * 53 * 6 * 4 * 8
    assert report.rows[1].flops == 2 * 1 * 6 * 4 * 8
    assert report.rows[1].once_for_all_draws
    assert not report.rows[-1].once_for_all_draws
    last = report.rows[-1]
    assert (last.operation, last.how) == ("sigmoid", "dense")
    assert "not local" in last.reason


def test_point_effects_of_a_model_without_dropout() -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv1d(4, 5, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(280, 2)
    )
    model, bank = LockedModel(net.double()), MaskBank(3)
    batch = substitutions(LENGTH)
    with model.borrow():
        _, fast = collect(IncrementalEngine(model, bank), batch, [-1])
        _, expected = collect(FullEngine(model, bank), batch, [-1])
    torch.testing.assert_close(fast, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["deepsea", "Recurrent", "Gated"])
def test_the_graph_in_float64(name: str) -> None:
    batch = substitutions(LENGTH, only=9)
    single = replace(batch, references=batch.references.astype(np.float32))
    model, bank = locked(name)
    narrow = LockedModel(build(name, torch.float32))
    with model.borrow(), narrow.borrow():
        exact = IncrementalEngine(narrow, bank).precise_outputs(single, 2)
        _, expected = collect(FullEngine(model, bank), batch, [2])
    assert exact is not None
    assert exact.dtype == torch.float64
    assert (exact - expected[0]).abs().max() < 1e-6  # weights rounded to float32 before
    assert is_rounding(exact.float(), exact.float(), exact)
    assert not is_rounding(exact * (1 + 1e-5), exact.float(), exact)


def test_rounding_of_the_model_itself_is_no_mismatch() -> None:
    class Precise(FullEngine):
        def precise_outputs(self, batch, draw, selected):  # type: ignore[no-untyped-def]
            rows = batch.inputs(slice(0, batch.n_mutants))
            return self.model.outputs(torch.from_numpy(rows), draw, self.masks) + self.shift

    model, bank = locked("deepsea")
    batch = substitutions(LENGTH)
    with model.borrow():
        engine = Precise(model, bank)
        engine.run = lambda *a: (  # type: ignore[method-assign]
            b._replace(alt=b.alt + 2e-6) for b in FullEngine.run(engine, *a)
        )
        engine.shift = 1e-6
        verifying = VerifyingEngine(engine, model, bank)
        list(verifying.run(batch, [0]))
        assert verifying.largest_error > 1e-6
        engine.shift = 1e-9
        with pytest.raises(EngineMismatchError):
            list(VerifyingEngine(engine, model, bank).run(batch, [0]))


class Shifted(IncrementalEngine):
    """Wrong by 1e-6, on the graph with dropout."""

    def run(self, batch, draws, selected=None):  # type: ignore[no-untyped-def]
        for block in super().run(batch, [*draws, 0], selected):
            alt = block.alt[: len(draws)] + 1e-6
            yield block._replace(ref=block.ref[: len(draws)], alt=alt)


def test_a_model_without_a_graph_for_dropout_off_is_verified_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(model, masks, batch, point_only, captures):  # type: ignore[no-untyped-def]
        if point_only:
            raise CaptureError("no graph with dropout off")
        return compile_model(model, masks, batch, point_only, captures)

    monkeypatch.setattr("kipoi_mcdropout.engine.incremental.engine.compile_model", refuses)
    model, bank = locked("deepsea")
    with model.borrow():
        engine = Shifted(model, bank)
        assert engine.precise_outputs(substitutions(LENGTH, only=9), -1) is None
        with pytest.raises(EngineMismatchError, match="dropout off"):
            list(VerifyingEngine(engine, model, bank, share=0.9).run(substitutions(LENGTH), [-1]))


def test_batch_mates_are_no_reason_for_another_engine() -> None:
    class Centred(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = build("deepsea")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.body(x)
            return y - y.mean(0) if len(y) > 3 else y  # not seen by the probing, which runs 3 at most

    model, bank = LockedModel(Centred()), MaskBank(3)
    with model.borrow():
        engine = VerifyingEngine(FullEngine(model, bank), model, bank)
        with pytest.raises(BatchDependenceError, match="depends on the other inputs") as error:
            list(engine.run(substitutions(LENGTH), [0]))
    assert "'full'" not in str(error.value)


def test_running_out_of_memory_means_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    original = SliceRun.outputs
    refused = []
    on_cpu = RuntimeError("DefaultCPUAllocator: not enough memory")
    errors = [torch.OutOfMemoryError("no memory"), on_cpu]

    def outputs(self, draws, selected):  # type: ignore[no-untyped-def]
        if self.shrink < 4:
            refused.append(len(draws))
            raise errors[len(refused) - 1]
        return original(self, draws, selected)

    monkeypatch.setattr(SliceRun, "outputs", outputs)
    error, _ = error_against_oracle(build("deepsea"), substitutions(LENGTH), tuple(range(17)))
    assert error < 1e-10
    assert refused == [16, 8]


def test_infinite_activations_are_computed_whole() -> None:
    class Logarithm(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv1d(4, 5, 5)
            self.head = torch.nn.Linear(5 * (LENGTH - 4), 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.log(torch.relu(self.conv(x)))  # minus infinity for many
            y = torch.nn.functional.dropout(y, 0.2, True).exp()
            return self.head(y.nan_to_num(0).flatten(1))

    torch.manual_seed(0)
    error, _ = error_against_oracle(Logarithm().double(), substitutions(LENGTH, only=40))
    assert error < 1e-10
