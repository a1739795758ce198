"""Weights of every floating-point type, in every command; what is rounding follows the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import LENGTH, fixed, one_hot
from torch import Tensor, nn

import kipoi_mcdropout as mcd
from kipoi_mcdropout import MCDropoutISM, audit, mc_predict
from kipoi_mcdropout.effects.columns import OUTPUT_EPS
from kipoi_mcdropout.effects.rounding import FLOAT32_EPS, ULPS, effect_rounding, output_rounding
from kipoi_mcdropout.effects.z import z_values
from kipoi_mcdropout.engine.verify import tolerance
from kipoi_mcdropout.files.read import read_effects

ENGINES = ["full", "incremental"]
BF16, HALF = torch.finfo(torch.bfloat16).eps, torch.finfo(torch.float16).eps


class Conv(nn.Module):
    def __init__(self, tail: Callable[[Tensor], Any] = lambda y: y) -> None:
        super().__init__()
        self.conv, self.drop = nn.Conv1d(4, 8, 5, padding=2), nn.Dropout(0.3)
        self.dense, self.tail = nn.Linear(8 * LENGTH, 3), tail

    def forward(self, x: Tensor) -> Any:
        h = self.drop(torch.relu(self.conv(x))).flatten(1)
        return self.tail(self.dense(h.to(self.dense.weight.dtype)))


class Autocast(Conv):
    def forward(self, x: Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


class HeadFirst(Conv):
    """The first weights by order are not the first that see the input."""

    def __init__(self) -> None:
        super().__init__()
        conv = self.conv
        del self.conv
        self.conv = conv


def mixed(part: str) -> nn.Module:
    net = HeadFirst().eval()
    net.load_state_dict(fixed(Conv()).state_dict())
    getattr(net, part).to(torch.bfloat16)
    return net


def floats(y: Tensor) -> Tensor:
    return y.float()


NETS: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "float64": (lambda: fixed(Conv()).double(), 2.0**-52),
    "float32": (lambda: fixed(Conv()), FLOAT32_EPS),
    "float16": (lambda: fixed(Conv()).half(), HALF),
    "bfloat16": (lambda: fixed(Conv()).bfloat16(), BF16),
    "bfloat16, ends in float32": (lambda: fixed(Conv(floats)).bfloat16(), BF16),
    "float32, ends in float64": (lambda: fixed(Conv(lambda y: y.double())), FLOAT32_EPS),
    "float32 beside whole numbers": (lambda: fixed(Conv(lambda y: (y, y.argmax(1)))), FLOAT32_EPS),
    "autocast": (lambda: fixed(Autocast(floats)), BF16),
    "bfloat16 convolution": (lambda: mixed("conv"), BF16),
    "bfloat16 head": (lambda: mixed("dense"), BF16),
}


@pytest.mark.parametrize("name", NETS)
def test_effects_are_those_of_float32_up_to_the_precision_that_is_found(name: str) -> None:
    make, eps = NETS[name]
    x, options = one_hot(1), {"n_draws": 4, "end": 6, "category_axis": 0}
    expected = MCDropoutISM(fixed(Conv()), 0, **options, engine="full").score(x)["diff"]
    scale = np.nanmax(np.abs(expected["ref_mean"]))
    for engine in ENGINES:
        found = MCDropoutISM(make(), 0, **options, engine=engine).score(x)["diff"]
        for statistic in ("effect_mean", "effect_sd", "ref_mean", "effect_point"):
            values = found[statistic]
            assert values.dtype == np.float64
            error = np.nanmax(np.abs(values[..., :3] - expected[statistic]))
            assert error <= max(16 * eps, 1e-6) * scale
    predictions = mc_predict(make(), x, 4)
    plain = mc_predict(fixed(Conv()), x, 4)
    np.testing.assert_allclose(predictions.mean[:, :3], plain.mean, atol=max(16 * eps, 1e-6) * scale)
    plan = audit(make(), x).plan
    assert any("relative precision" in note for note in plan.notes) == (eps > FLOAT32_EPS)


class BlindToBases(nn.Module):
    """No substitution changes anything but by rounding; the outputs are float32 in the end."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        of_position = torch.randn(32, 1, LENGTH, generator=torch.Generator().manual_seed(1))
        self.first, self.drop = nn.Linear(4 * LENGTH, 32), nn.Dropout(0.3)
        self.last = nn.Linear(32, 1)
        fixed(self)
        self.first.weight.data = of_position.expand(-1, 4, -1).reshape(32, -1).clone() / 6
        self.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x.flatten(1)))
        # A rounding that the bases decide: half a unit in the last place of this type.
        unit = torch.finfo(h.dtype).eps
        return self.last(self.drop(h * (1 + unit * x[:, 0, :1]))).float()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_of_half_precision_is_no_effect_though_outputs_are_float32(dtype: torch.dtype) -> None:
    ism = MCDropoutISM(BlindToBases(dtype).eval(), 0, n_draws=30, end=1, category_axis=0)
    found = ism.score(one_hot(1))["diff"]
    mutated = np.isfinite(found["effect_mean"])
    assert np.nanmax(np.abs(found["effect_mean"])) > 64 * FLOAT32_EPS, "there is rounding to be seen"
    assert (found["prob_positive"][mutated] == 0.5).all()


@pytest.mark.parametrize("suffix", ["h5", "tsv", "parquet"])
def test_files_say_how_precise_a_model_was_where_that_is_less_than_float32(
    suffix: str, tmp_path: Path
) -> None:
    path, plain = tmp_path / f"half.{suffix}", tmp_path / f"plain.{suffix}"
    blind = BlindToBases(torch.bfloat16).eval()
    mcd.ism(mcd.Model(blind, input_shape=(4, LENGTH)), one_hot(2), n_draws=4, output=path)
    mcd.ism(mcd.Model(fixed(Conv()), input_shape=(4, LENGTH)), one_hot(2), n_draws=4, output=plain)
    assert OUTPUT_EPS not in read_effects(plain)
    table = read_effects(path)
    assert (table[OUTPUT_EPS] == BF16).all()
    size = np.sqrt(table["ref_mean"].astype(float) ** 2 + table["ref_var"].astype(float))
    floor = effect_rounding(table)
    assert (floor >= output_rounding(size, BF16) * 0.999999).all()
    small = table["effect_mean"].abs() < floor / 2
    assert small.all()
    assert (z_values(table) == 0).all()
    assert (z_values(table.drop(columns=OUTPUT_EPS)) != 0).any()


def test_what_is_rounding_by_hand() -> None:
    import pandas as pd

    table = pd.DataFrame({"effect_mean": [0.1, 0.02], "effect_sd": [0.05, 0.01]})
    table = table.assign(ref_mean=1.0, alt_mean=1.0, ref_var=0.0, alt_var=0.0)
    np.testing.assert_allclose(effect_rounding(table), ULPS * FLOAT32_EPS)
    half = table.assign(**{OUTPUT_EPS: [BF16, np.nan]})
    np.testing.assert_allclose(effect_rounding(half), [ULPS * BF16, ULPS * FLOAT32_EPS])
    double = table.assign(**{OUTPUT_EPS: 2.0**-52})  # its statistics are kept as float32
    np.testing.assert_allclose(effect_rounding(double), ULPS * FLOAT32_EPS)


def test_engines_are_compared_by_the_precision_of_the_arithmetic() -> None:
    assert tolerance(torch.float64) == 1e-10
    assert tolerance(torch.float64, FLOAT32_EPS) == tolerance(torch.float32) == 1e-5
    assert tolerance(torch.float32, BF16) == tolerance(torch.bfloat16) == 1e-2


def test_the_mean_of_both_strands_is_not_more_precise_than_the_strands() -> None:
    """`ViewAverage` adds in float64; the rounding of float32 is in what it adds."""
    from kipoi_mcdropout.effects.scores import SCORES
    from kipoi_mcdropout.effects.summarize import summarize_effects
    from kipoi_mcdropout.effects.summary import EffectOptions
    from kipoi_mcdropout.engine.full import DrawBlock
    from kipoi_mcdropout.outputs.targets import Targets
    from kipoi_mcdropout.sequence.mutants import MutantBatch
    from kipoi_mcdropout.sequence.one_hot import OneHotLayout

    layout = OneHotLayout((4, LENGTH), 0)
    codes = layout.codes(one_hot(1))
    mutants = np.repeat(codes, 2, axis=0)
    mutants[:, 5] = (mutants[:, 5] + 1) % 4
    batch = MutantBatch(one_hot(1), None, layout, codes, np.zeros(2, np.int64), mutants)

    class Rounded:
        """References of 1; mutants a unit of float32 above, and far above; in float64."""

        def run(self, batch: Any, draws: Any, selected: Any = None) -> Any:
            ref = torch.ones(len(draws), 1, 1, dtype=torch.float64)
            alt = torch.tensor([1 + FLOAT32_EPS, 1.5], dtype=torch.float64).expand(len(draws), 2)
            yield DrawBlock(slice(0, 2), ref, alt[..., None])

    for eps, first in ((FLOAT32_EPS, 0.5), (0.0, 1.0)):
        targets = Targets(("y",), (0,), 1, eps)
        options = EffectOptions((SCORES["diff"],), 2)
        summary = summarize_effects(Rounded(), batch, targets, options)[0]
        assert summary.mutant["prob_positive"][:, 0].tolist() == [first, 1.0]
        assert summary.eps == max(eps, 2.0**-52)
