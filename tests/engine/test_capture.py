"""What can be captured as a graph, and what is refused and runs as it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import choose, collect, error_against_oracle, substitutions
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import CaptureError, IncrementalEngine
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.engine.incremental.graph import Affine
from kipoi_mcdropout.errors import ModelError

pytestmark = pytest.mark.usefixtures("small_models_are_captured")

LENGTH = 24
KEPT = torch.zeros(1, 5, 20, dtype=torch.float64)


class Net(nn.Module):
    """A convolution, dropout, `function`, and a linear layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 5, 5)
        self.function = function
        self.head = nn.Linear(5 * 20, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.dropout(torch.relu(self.conv(x)), 0.3, self.training)
        return self.head(self.function(y).reshape(len(x), -1))


def net(function: Callable[[Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(0)
    return Net(function).double().eval()


def branch_on_data(y: Tensor) -> Tensor:
    return y * 2 if y.mean() > 0.2 else y


def mean_by_numpy(y: Tensor) -> Tensor:
    return y + torch.from_numpy(y.detach().numpy().mean((1, 2), keepdims=True))


def loop_over_batch(y: Tensor) -> Tensor:
    return torch.stack([row * 2 for row in y])


def write_through_view(y: Tensor) -> Tensor:
    z = y.clone()
    z[:, 0] = 0
    return z


def mask_index(y: Tensor) -> Tensor:
    z = y * 0
    return z.masked_scatter(y > 0.1, y[y > 0.1])


def batch_statistics(y: Tensor) -> Tensor:
    return y - torch.from_numpy(np.full((len(y), 1, 1), 0.5))


def foreign_code(y: Tensor) -> Tensor:
    return torch.from_numpy(np.tanh(y.numpy()))


def swallows_errors(y: Tensor) -> Tensor:
    try:
        return y * 2 if y.max() > 0.5 else y
    except Exception:  # noqa: BLE001
        return y


def in_place_of_what_is_kept(y: Tensor) -> Tensor:
    return KEPT.copy_(y[:1] * 0) + y


def into_an_output(y: Tensor) -> Tensor:
    given = torch.empty_like(y)
    torch.mul(y, 2, out=given)
    return given


def other_shape_in_place(y: Tensor) -> Tensor:
    return (y * 1).squeeze_(0) if len(y) == 1 else (y * 1).unsqueeze_(0).squeeze(0)


def operations_by_batch(y: Tensor) -> Tensor:
    return y * 2 if len(y) == 2 else y + y


def number_of_operations_by_batch(y: Tensor) -> Tensor:
    return y * 2 if len(y) == 2 else (y * 4) / 2


def number_of_parts_by_batch(y: Tensor) -> Tensor:
    return torch.cat([y] * len(y), 2)[:, :, : y.shape[2]]


def dropout_by_batch(y: Tensor) -> Tensor:
    return F.dropout(y, 0.5 / len(y), True)


def text_by_batch(y: Tensor) -> Tensor:
    rounding = "floor" if len(y) == 2 else "trunc"
    return torch.div(y, 0.25, rounding_mode=rounding)


REFUSED = {
    f.__name__: f
    for f in (
        branch_on_data, mean_by_numpy, loop_over_batch, write_through_view, mask_index,
        batch_statistics, foreign_code, swallows_errors, in_place_of_what_is_kept, into_an_output,
        other_shape_in_place, operations_by_batch, number_of_operations_by_batch,
        number_of_parts_by_batch, dropout_by_batch, text_by_batch,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_and_run_as_it_is(name: str) -> None:
    model, bank = LockedModel(net(REFUSED[name])), MaskBank(1)
    batch = substitutions(LENGTH, only=20)
    with model.borrow(), pytest.raises(CaptureError):
        list(IncrementalEngine(model, bank).run(batch, [0]))
    if name == "dropout_by_batch":  # no engine can run it: the count of a pass says so
        with pytest.raises(ModelError, match="the forward pass differs between batches"):
            choose(model, batch, n_draws=30)
        return
    choice = choose(model, batch, n_draws=30)
    assert choice.engine == "full"
    assert not choice.problem
    assert "captured" in choice.reason


def test_a_graph_that_differs_from_the_model_is_refused() -> None:
    model = LockedModel(net(lambda y: y * 2 if len(y) > 3 else y))
    with model.borrow(), pytest.raises(CaptureError, match="another result than the model"):
        IncrementalEngine(model, MaskBank(1)).compiled(substitutions(LENGTH, only=20))


FINE: dict[str, Callable[[Tensor], Tensor]] = {
    "shape_of_the_batch": lambda y: y.view(y.shape[0], -1) * torch.ones(y.shape[0], 1).double(),
    "arange_of_the_batch": lambda y: y[torch.arange(len(y))],
    "in_place_on_the_whole": lambda y: y.relu_().add_(1),
    "constant_tensor": lambda y: y * torch.tensor([1.0, 2, 3, 4, 5]).double()[:, None],
    "squeeze": lambda y: y[:, None].squeeze(),
    "numbers_from_the_batch": lambda y: (y * len(y)).clamp(max=9 * len(y)) / len(y),
    "expand": lambda y: y + y.mean(2, keepdim=True).expand_as(y),
}


@pytest.mark.parametrize("name", FINE)
@pytest.mark.parametrize("only", [1, 2, 30])
def test_captured(name: str, only: int) -> None:
    error, _ = error_against_oracle(net(FINE[name]), substitutions(LENGTH, only=only))
    assert error < 1e-10


class SeveralInputs(nn.Module):
    """A dict of inputs, of which the sequence is one, and a dict of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 5, 5)
        self.other = nn.Linear(3, 5)
        self.head = nn.Linear(10, 2)

    def forward(self, signal: Tensor, dna: Tensor) -> dict[str, Tensor]:
        x = F.dropout(torch.relu(self.conv(dna.transpose(1, 2))), 0.3, self.training)
        y = F.dropout(torch.relu(self.other(signal)), 0.3, self.training)
        joint = self.head(torch.cat([x.mean(2) + y, y], 1))
        return {"joint": joint, "profile": x * y[:, :, None]}


@pytest.mark.parametrize("references", [1, 4])
def test_other_inputs(references: int) -> None:
    torch.manual_seed(0)
    batch = substitutions(LENGTH, references, shape=(LENGTH, 4), category_axis=1, only=20)
    signal = np.random.default_rng(0).normal(size=(references, 3))
    batch = replace(batch, references={"signal": signal, "dna": batch.references}, input_key="dna")
    error, plan = error_against_oracle(SeveralInputs().double(), batch)
    assert error < 1e-10
    assert [s.kind for s in plan.steps.values() if s.node.name == "conv1d"] == ["windows"]
    assert plan.graph.nodes[0].shape == (Affine(1, 0), 3)


def test_the_model_is_left_as_it_was() -> None:
    model = net(lambda y: y).train()
    model.conv.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [part.training for part in model.modules()]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    error, _ = error_against_oracle_without_eval(model)
    assert error < 1e-10
    assert [part.training for part in model.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def error_against_oracle_without_eval(model: nn.Module) -> tuple[float, None]:
    locked, bank, batch = LockedModel(model), MaskBank(3), substitutions(LENGTH, only=10)
    with locked.borrow():
        _, expected = collect(FullEngine(locked, bank), batch, [0, 1])
        _, alt = collect(IncrementalEngine(locked, bank), batch, [0, 1])
    return ((alt - expected).abs().max() / expected.abs().max()).item(), None


def test_torchs_compiler_is_not_loaded() -> None:
    """Its import takes seconds, which a short run would pay for nothing."""
    program = """
import sys
import numpy as np
from types import SimpleNamespace
from torch import nn
from kipoi_mcdropout.plugin.mutation import MCDropoutISM

net = nn.Sequential(nn.Conv1d(4, 3, 5), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(48, 2))
x = np.eye(4, dtype=np.float32)[np.arange(20) % 4].T[None]
ism = MCDropoutISM(SimpleNamespace(model=net, schema=None), None, category_axis=0, engine="incremental")
ism.score(x)
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
