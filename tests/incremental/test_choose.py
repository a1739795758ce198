"""Choice of the engine, and checking it while it runs."""

from __future__ import annotations

import pytest
import torch
from helpers import collect, substitutions
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
