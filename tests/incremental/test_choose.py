"""Choice of the engine, and checking it while it runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import collect, error_against_oracle, substitutions
from zoo import LENGTH, build

from kipoi_mcdropout.engine import FullEngine
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.forward import LockedModel, MaskBank
from kipoi_mcdropout.incremental import (
    AutoEngine,
    EngineMismatchError,
    IncrementalEngine,
    VerifyingEngine,
    describe,
    make_engine,
)
from kipoi_mcdropout.incremental.rules.pointwise import Pointwise
from kipoi_mcdropout.incremental.slice_run import SliceRun
from kipoi_mcdropout.incremental.verify import is_rounding


def locked(name: str) -> tuple[LockedModel, MaskBank]:
    return LockedModel(build(name)), MaskBank(3)


def test_engines_by_name() -> None:
    model, bank = locked("deepsea")
    assert isinstance(make_engine(model, bank, engine="full"), FullEngine)
    assert isinstance(make_engine(model, bank, engine="incremental"), IncrementalEngine)
    with pytest.raises(InputError, match="'fast'"):
        make_engine(model, bank, engine="fast")


@pytest.mark.parametrize("name", ["deepsea", "SqueezeExcite"])
def test_auto_equals_the_oracle(name: str) -> None:
    model, bank = locked(name)
    batch = substitutions(LENGTH)
    with model.borrow():
        engine = make_engine(model, bank)
        ref, alt = collect(engine, batch, [-1, 0, 1])
        expected_ref, expected = collect(FullEngine(model, bank), batch, [-1, 0, 1])
    assert isinstance(engine, AutoEngine)
    assert "whole inputs" in engine.choice(batch, [0]).reason
    torch.testing.assert_close(alt, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(ref, expected_ref, rtol=0, atol=1e-10)


def test_auto_leaves_a_rule_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Pointwise.run
    monkeypatch.setattr(Pointwise, "run", lambda *a: _scaled(original(*a)) if a[1].n_mutants else None)
    monkeypatch.setattr("kipoi_mcdropout.incremental.choose._MUST_WORK", 0)
    model, bank = locked("deepsea")
    batch = substitutions(LENGTH)
    with model.borrow():
        engine = make_engine(model, bank)
        _, alt = collect(engine, batch, [-1, 0])
        _, expected = collect(FullEngine(model, bank), batch, [-1, 0])
    assert isinstance(engine, AutoEngine)
    assert "differs" in engine.choice(batch, [-1, 0]).reason
    assert torch.equal(alt, expected)


def _scaled(window):  # type: ignore[no-untyped-def]
    window.new = window.new * 1.001
    return window


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
    assert report.rows[0].width_out == 1 and report.rows[1].n_positions == LENGTH - 7
    assert report.rows[1].dense_flops == 2 * 53 * 6 * 4 * 8
    assert report.rows[1].flops == 2 * 1 * 6 * 4 * 8
    assert report.rows[1].once_for_all_draws and not report.rows[-1].once_for_all_draws
    last = report.rows[-1]
    assert (last.operation, last.how) == ("sigmoid", "dense") and "not local" in last.reason


def test_point_effects_of_a_model_without_dropout() -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv1d(4, 5, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(280, 2)
    )
    model, bank = LockedModel(net.double()), MaskBank(3)
    batch = substitutions(LENGTH)
    with model.borrow():
        _, alt = collect(make_engine(model, bank), batch, [-1])
        _, fast = collect(IncrementalEngine(model, bank), batch, [-1])
        _, expected = collect(FullEngine(model, bank), batch, [-1])
    torch.testing.assert_close(alt, expected, rtol=0, atol=1e-10)
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
    assert exact is not None and exact.dtype == torch.float64
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


def test_running_out_of_memory_means_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    original = SliceRun.outputs
    refused = []

    def outputs(self, draws, selected):  # type: ignore[no-untyped-def]
        if self.shrink < 4:
            refused.append(len(draws))
            raise torch.OutOfMemoryError("no memory")
        return original(self, draws, selected)

    monkeypatch.setattr(SliceRun, "outputs", outputs)
    error, _ = error_against_oracle(build("deepsea"), substitutions(LENGTH), tuple(range(9)))
    assert error < 1e-10 and refused == [8, 4]


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
