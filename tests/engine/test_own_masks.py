"""Masks and noise that the model's own code makes, in the incremental engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import choose, compare, kinds, substitutions
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import IncrementalEngine
from kipoi_mcdropout.engine.incremental.capture_error import CaptureError
from kipoi_mcdropout.engine.incremental.rules.masks import MaskedScale
from kipoi_mcdropout.plugin.mutation import MCDropoutISM

pytestmark = pytest.mark.usefixtures("small_models_are_captured")

LENGTH, C, P = 48, 5, 0.3
K = 1 - P


class Body(nn.Module):
    def __init__(self, code: Callable[[Tensor], Tensor], guarded: bool) -> None:
        super().__init__()
        self.code, self.guarded = code, guarded

    def forward(self, x: Tensor) -> Tensor:
        return self.code(x) if self.training or not self.guarded else x


class Net(nn.Module):
    """Convolutions around random numbers, a residual branch with a mask, a dropout of torch."""

    def __init__(self, code: Callable[[Tensor], Tensor], guarded: bool = True) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(4, C, 5, padding=2), nn.Conv1d(C, C, 3, padding=1)
        self.body, self.drop = Body(code, guarded), nn.Dropout(0.2)
        self.head = nn.Linear(C * (LENGTH // 4), 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(torch.relu(self.first(x)))
        y = y + self.body(torch.tanh(self.second(y)))
        return self.head(F.max_pool1d(y, 4).flatten(1))


def by_row(x: Tensor) -> Tensor:
    return x * x.new_empty(len(x), 1, 1).bernoulli_(K).div_(K)


# name: what becomes of tanh's result, whether it is multiplied on windows
FORMS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "a number a row": ("scaled", by_row),
    "a number a batch": ("scaled", lambda x: x * torch.empty(1, 1, 1, dtype=x.dtype).bernoulli_(K) / K),
    "elements": ("scaled", lambda x: x * (torch.rand_like(x) > P) / K),
    "channels": ("scaled", lambda x: torch.bernoulli(torch.full((len(x), C, 1), K).to(x)) / K * x),
    "positions, for all inputs": ("scaled", lambda x: x * (torch.rand(LENGTH).to(x) > P) / K),
    "two of them": (
        "scaled",
        lambda x: x * ((torch.rand_like(x) > P) & (torch.rand(len(x), 1, 1) > P)) / K**2,
    ),
    "divided": ("scaled", lambda x: x / (1 + 0 * torch.rand(len(x), C, 1).to(x))),
    "noise": ("scaled", lambda x: x * (1 + 0.3 * torch.randn_like(x))),
    "added noise": ("windows", lambda x: x + 0.3 * torch.randn_like(x)),
    "uniform noise": ("scaled", lambda x: x * torch.empty_like(x).uniform_(0.5, 1.5)),
    "masked_fill": ("dense", lambda x: x.masked_fill(torch.rand_like(x) < P, 0.0) / K),
    "the batch second": ("scaled", lambda x: (x.transpose(0, 1) * _mask(x)).transpose(0, 1)),
}


def _mask(x: Tensor) -> Tensor:
    return torch.bernoulli(torch.full((C, len(x), 1), K).to(x)) / K


@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize("name", FORMS)
def test_equal_to_the_oracle(name: str, references: int) -> None:
    """Draws by one graph, the prediction with dropout off by another."""
    torch.manual_seed(1)
    kind, code = FORMS[name]
    error, plan, paths = compare(Net(code).double(), substitutions(LENGTH, references, only=40))
    assert error < 1e-10
    assert paths["slices"] > 1
    scaled = [step for step in plan.steps.values() if isinstance(step.rule, MaskedScale)]
    assert (len(scaled) > 0) == (kind == "scaled")
    assert kinds(plan)["tanh"] == "windows"


@pytest.mark.parametrize("mask_scope", ["run", "sequence"])
def test_ism_by_every_engine(mask_scope: str) -> None:
    x = np.eye(4)[np.random.default_rng(0).integers(0, 4, (2, LENGTH))].transpose(0, 2, 1)
    torch.manual_seed(1)
    net = Net(lambda x: by_row(x) * (1 + 0.3 * torch.randn(len(x), C, 1).to(x))).double()
    found = [
        MCDropoutISM(
            net, None, n_draws=5, category_axis=0, engine=engine, mask_scope=mask_scope
        ).score(x)["diff"]
        for engine in ("full", "incremental")
    ]  # fmt: skip
    for statistic in ("effect_mean", "effect_sd", "effect_point", "ref_var"):
        np.testing.assert_allclose(found[1][statistic], found[0][statistic], atol=1e-10)
    assert (found[0]["ref_var"] > 0).all()


def test_random_numbers_that_are_always_on_are_run_as_they_are() -> None:
    """Their point, with each number at its mean, has no graph."""
    torch.manual_seed(1)
    model = LockedModel(Net(lambda x: x + torch.randn_like(x), guarded=False).double())
    batch = substitutions(LENGTH, only=20)
    words = r"random numbers by torch's randn_like in module 'body', test_own_masks.py line"
    with model.borrow(), pytest.raises(CaptureError, match=words):
        list(IncrementalEngine(model, MaskBank(1)).run(batch, [0]))
    choice = choose(model, batch)
    assert (choice.engine, choice.problem) == ("full", False)
    assert "torch's randn_like in module 'body'" in choice.reason
