"""Wrappers around a module are taken off: names, checksums and results are those of the module."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from small_models import Linear, fixed, one_hot, with_schema
from torch import Tensor, nn

from kipoi_mcdropout import MCDropoutISM, audit, mc_predict
from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.errors import ModelError
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.model.identity import model_identity

ENGINES = ["full", "incremental"]
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


def distributed(net: nn.Module) -> nn.Module:
    """DistributedDataParallel without a group of processes."""
    wrapper = object.__new__(nn.parallel.DistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = net
    return wrapper


WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": distributed,
    "compiled": torch.compile,
    "averaged": torch.optim.swa_utils.AveragedModel,
    "compiled DataParallel": lambda net: torch.compile(nn.DataParallel(net)),
    "DataParallel of compiled": lambda net: nn.DataParallel(torch.compile(net)),
    "DataParallel in a Kipoi model": lambda net: with_schema(nn.DataParallel(net), None),
}


def effects(net: Any, engine: str) -> dict[str, np.ndarray]:
    options: dict[str, Any] = {"n_draws": 3, "end": 4, "category_axis": 0, "engine": engine}
    return MCDropoutISM(net, 0, **options).score(one_hot(1))["diff"]


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_changes_nothing(name: str) -> None:
    net = fixed(Linear())
    wrapped = WRAPPERS[name](net)
    assert [row.name for row in audit(wrapped, one_hot()).rows] == ["body.2"]
    assert type(KipoiModel(wrapped).locked.module) is Linear
    plain = model_identity(net)
    found = model_identity(wrapped)
    if isinstance(wrapped, nn.Module):
        assert found == plain
    assert found["weights_sha256"] == plain["weights_sha256"]
    for engine in ENGINES:
        expected = effects(net, engine)
        for statistic, values in effects(wrapped, engine).items():
            np.testing.assert_array_equal(values, expected[statistic])


def exported(train: bool) -> Callable[[nn.Module], nn.Module]:
    def make(net: nn.Module) -> nn.Module:
        example = (torch.from_numpy(one_hot()),)
        shapes = ({0: torch.export.Dim("batch")},)
        return torch.export.export(net.train(train), example, dynamic_shapes=shapes).module()

    return make


FORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "fx": torch.fx.symbolic_trace,
    "exported in evaluation": exported(False),
    "exported in training": exported(True),
}


@pytest.mark.parametrize("name", FORMS)
def test_graphs_have_the_effects_of_the_module(name: str) -> None:
    net = fixed(Linear())
    expected = effects(net, "full")
    graph, again = FORMS[name](net), FORMS[name](net)
    assert model_identity(graph) == model_identity(again)
    for engine in ENGINES:
        for statistic, values in effects(graph, engine).items():
            np.testing.assert_allclose(values, expected[statistic], atol=1e-6)


def test_an_exported_program_is_refused_with_the_remedy() -> None:
    program = torch.export.export(fixed(Linear()), (torch.from_numpy(one_hot()),))
    with pytest.raises(ModelError, match=r"got an ExportedProgram. Give its \.module\(\)"):
        mc_predict(program, one_hot(), 2)


def weight_normed(net: Linear) -> nn.Module:
    nn.utils.parametrizations.weight_norm(net.body[1])
    return net


def spectral_normed(net: Linear) -> nn.Module:
    nn.utils.parametrizations.spectral_norm(net.body[1])
    return net


def spectral_normed_by_hook(net: Linear) -> nn.Module:
    nn.utils.spectral_norm(net.body[1])
    return net


@pytest.mark.parametrize("make", [weight_normed, spectral_normed, spectral_normed_by_hook])
def test_normed_weights_are_those_of_evaluation_and_stay_as_they_are(
    make: Callable[[Linear], nn.Module],
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = make(Linear())
    x = torch.from_numpy(one_hot())
    with torch.no_grad():
        point = net.eval()(x).numpy()
    net.train()  # in which spectral norm changes its buffers with every pass
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = mc_predict(net, one_hot(), 3)
    np.testing.assert_allclose(found.point, point, rtol=1e-5)
    for engine in ENGINES:
        expected = effects(net, "full")["effect_mean"]
        scale = np.nanmax(np.abs(expected))
        np.testing.assert_allclose(effects(net, engine)["effect_mean"], expected, atol=1e-5 * scale)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(24), nn.Dropout(0.3), nn.LazyLinear(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.parametrize("kind", ["weight", "buffer that is not saved"])
def test_a_tensor_without_data_is_refused_by_name(kind: str) -> None:
    net = Linear()
    inner = net.body[1]
    if kind == "weight":
        name, inner.weight = "body.1.weight", nn.Parameter(inner.weight.to("meta"))
    else:  # as a loader leaves it that knows only what is in the file of weights
        inner.register_buffer("places", torch.empty(3, device="meta"), persistent=False)
        name = "body.1.places"
    for run in (lambda: mc_predict(net, one_hot(), 2), lambda: audit(net), lambda: LockedModel(net)):
        with pytest.raises(ModelError, match=rf"tensor '{name}' of the model has no data .*'meta'"):
            run()


@pytest.mark.parametrize("one_pass", [True, False])
def test_a_lazy_module_with_loaded_weights_is_used_and_stays_as_it_is(one_pass: bool) -> None:
    net, plain = Lazy(), fixed(Linear())
    with pytest.raises(ModelError, match=r"'body.1', 'body.3' is lazy and has no weights yet"):
        mc_predict(net, one_hot(), 2)
    if one_pass:
        net(torch.from_numpy(one_hot()))
    net.load_state_dict(plain.state_dict())
    kinds = [(type(part), len(part._forward_pre_hooks)) for part in net.modules()]
    for engine in ENGINES:
        expected = effects(plain, engine)
        for statistic, values in effects(net, engine).items():
            np.testing.assert_array_equal(values, expected[statistic])
    assert [(type(part), len(part._forward_pre_hooks)) for part in net.modules()] == kinds
    x = torch.from_numpy(one_hot())
    assert torch.equal(net.eval()(x), plain(x))
    assert type(net.body[1]) is nn.Linear


def test_a_lightning_module_is_the_same_model_after_training() -> None:
    """A class as Lightning's, which keeps its trainer; forward is the user's."""
    base = type("LightningModule", (nn.Module,), {"__module__": "lightning.pytorch.core.module"})

    class Lit(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.model, self._factor = Linear(), 1.0
            self.__dict__["_trainer"] = None

        def forward(self, x: Tensor) -> Tensor:
            return self._factor * self.model(x)

    net = fixed(Lit())
    before = model_identity(net)
    assert [row.name for row in audit(net, one_hot()).rows] == ["model.body.2"]
    np.testing.assert_array_equal(
        effects(net, "full")["effect_mean"], effects(net.model, "full")["effect_mean"]
    )
    net.__dict__["_trainer"] = types.SimpleNamespace(epoch=3)
    assert model_identity(net) == before
    net._factor = 2.0
    assert model_identity(net) != before


def test_a_sharded_module_is_refused_by_name() -> None:
    kind = type("FSDPLinear", (Linear,), {"__module__": "torch.distributed.fsdp._fully_shard"})
    with pytest.raises(ModelError, match=r"module 'FSDPLinear' is sharded over several processes"):
        mc_predict(fixed(kind()), one_hot(), 2)
