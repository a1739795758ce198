"""Two models have the same identity only where they give the same numbers."""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from toy import make_toy

from kipoi_mcdropout.cli import run
from kipoi_mcdropout.errors import ModelError
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.model.identity import function_checksum, model_identity, weights_checksum

kipoi = pytest.importorskip("kipoi")

KEYS = {"weights_sha256", "code_sha256", "settings_sha256"}
NET = """
import torch
from torch import nn
{imports}
FACTOR = {constant}


class Net(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.dense = nn.Linear(8, 2)
        self.drop = nn.Dropout(0.5)
        self.factor = factor
        self.register_buffer("scale", torch.tensor({buffer}), persistent=False)

    def forward(self, x):
        return self.drop(self.dense(x)) * FACTOR * self.scale * self.factor
"""


def load(folder: Path, name: str = "net", **text: Any) -> nn.Module:
    """The network of a file, as `import` would give it, with weights that are always the same."""
    path = folder / f"{name}.py"
    path.write_text(NET.format(**{"imports": "", "constant": 1.0, "buffer": 1.0, **text}))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.Net()
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.5)
    return net


def differing(a: Any, b: Any) -> set[str]:
    one, other = model_identity(a), model_identity(b)
    assert set(one) == set(other) == KEYS
    return {key for key in KEYS if one[key] != other[key]}


def test_the_same_file_loaded_twice_is_the_same_model(tmp_path: Path) -> None:
    assert differing(load(tmp_path), load(tmp_path)) == set()


def test_a_constant_in_the_code_is_part_of_the_model(tmp_path: Path) -> None:

    one = model_identity(load(tmp_path))
    other = model_identity(load(tmp_path, constant=3.00))
    assert one["weights_sha256"] == other["weights_sha256"]
    assert one["code_sha256"] != other["code_sha256"]


def test_a_helper_beside_the_code_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = []
    for text in ("def double(x): return 2 * x", "def double(x): return 3 * x"):
        (tmp_path / "identity_helper.py").write_text(text)
        found.append(model_identity(load(tmp_path, imports="from identity_helper import double")))
        sys.modules.pop("identity_helper")
    assert found[0]["code_sha256"] != found[1]["code_sha256"]


def test_an_environment_inside_the_folder_is_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    installed.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = []
    for text in ("def double(x): return 2 * x", "def double(x): return 3 * x"):
        (installed / "identity_library.py").write_text(text)
        found.append(model_identity(load(tmp_path, imports="from identity_library import double")))
        sys.modules.pop("identity_library")
    assert found[0] == found[1]


def test_a_buffer_that_is_not_saved_is_part_of_the_weights(tmp_path: Path) -> None:
    one, other = load(tmp_path), load(tmp_path)
    other.scale.fill_(3.0)
    assert differing(one, other) == {"weights_sha256"}


def test_an_attribute_is_part_of_the_settings(tmp_path: Path) -> None:
    one, other = load(tmp_path), load(tmp_path)
    other.factor = 3.0
    assert differing(one, other) == {"settings_sha256"}
    other.factor = torch.tensor(1.0)
    assert differing(one, other) == {"settings_sha256"}


def test_a_hook_is_part_of_the_model(tmp_path: Path) -> None:
    one, other = load(tmp_path), load(tmp_path)
    other.dense.register_forward_hook(lambda _module, _args, output: 3 * output)
    assert "settings_sha256" in differing(one, other)


def test_a_lambda_counts_with_what_it_encloses() -> None:
    def net(factor: float) -> nn.Module:
        part = nn.Linear(2, 2)
        nn.init.zeros_(part.weight), nn.init.zeros_(part.bias)
        part.after = lambda x: factor * x
        return part

    assert differing(net(1.0), net(1.0)) == set()
    assert differing(net(1.0), net(3.0)) == {"settings_sha256"}


def quantized(kind: str, value: float) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential({"linear": nn.Linear(4, 3), "lstm": nn.LSTM(4, 3)}[kind])
    next(net.parameters()).data[0, 0] = value
    return torch.ao.quantization.quantize_dynamic(net, {nn.Linear, nn.LSTM}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", ["linear", "lstm"])
def test_packed_parameters_are_part_of_the_weights(kind: str) -> None:
    assert differing(quantized(kind, 0.2), quantized(kind, 0.2)) == set()
    assert "weights_sha256" in differing(quantized(kind, 0.2), quantized(kind, -0.3))


def test_quantized_tensors_count_with_their_scale() -> None:
    def net(scale: float) -> nn.Module:
        part = nn.Module()
        part.register_buffer("w", torch.quantize_per_tensor(torch.zeros(2), scale, 0, torch.qint8))
        return part

    assert weights_checksum(net(0.1)) == weights_checksum(net(0.1)) != weights_checksum(net(0.2))


class WithExtraState(nn.Module):
    def __init__(self, table: dict[str, float]) -> None:
        super().__init__()
        self._table = table

    def get_extra_state(self) -> dict[str, float]:
        return self._table

    def set_extra_state(self, state: dict[str, float]) -> None:
        self._table = state


def test_extra_state_is_part_of_the_weights() -> None:
    assert "weights_sha256" in differing(WithExtraState({"a": 1.0}), WithExtraState({"a": 2.0}))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.complex64])
def test_weights_of_every_dtype_count(dtype: torch.dtype) -> None:
    def net(value: float) -> nn.Module:
        part = nn.Module()
        part.weight = nn.Parameter(torch.full((2,), value, dtype=dtype))
        return part

    assert weights_checksum(net(1.0)) == weights_checksum(net(1.0)) != weights_checksum(net(2.0))


class Mean(nn.Module):
    def __init__(self, inner: nn.Module, how: str = "mean") -> None:
        super().__init__()
        self.inner, self.how = inner, how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(self.inner(x), self.how)(dim=1)


class Sum(Mean):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x).sum(dim=1)


def test_a_wrapper_around_the_same_weights_is_another_model() -> None:
    inner = nn.Linear(3, 3)
    assert differing(Mean(inner), Mean(inner)) == set()
    assert differing(Mean(inner), Mean(inner, "sum")) == {"settings_sha256"}
    assert differing(Mean(inner), Sum(inner)) == {"settings_sha256"}  # the file is the same


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 3)
        self.factor = factor

    def forward(this, x: torch.Tensor) -> torch.Tensor:  # noqa: N805 (TorchScript keeps the name)
        return this.dense(x) * this.factor


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "make",
    [
        torch.jit.script,
        lambda net: torch.jit.trace(net, torch.ones(1, 3)),
        torch.fx.symbolic_trace,
        torch.compile,
    ],
    ids=["script", "trace", "fx", "compile"],
)
def test_other_forms_of_a_module_count_with_their_constants(make: Callable[[nn.Module], Any]) -> None:
    one, other = Scaled(1.0), Scaled(3.0)
    other.load_state_dict(one.state_dict())
    assert differing(make(one), make(one)) == set()
    assert differing(make(one), make(other)) & {"code_sha256", "settings_sha256"}


def first(y: Any, column: int = 0) -> Any:
    return y[column]


def test_a_selection_of_outputs_is_part_of_the_identity() -> None:
    net = nn.Linear(3, 3)
    plain = KipoiModel(net).identity()
    one, other = (KipoiModel(net, functools.partial(first, column=i)).identity() for i in (0, 1))
    assert set(plain) == KEYS
    assert {key for key in one if one[key] != other[key]} == {"output_sel_fn_sha256"}


def test_functions_count_with_code_and_values() -> None:
    def make(column: int) -> Callable[[Any], Any]:
        return lambda y: y[column]

    assert function_checksum(make(0)) == function_checksum(make(0)) != function_checksum(make(1))


def test_code_without_a_file_counts() -> None:
    def net(factor: float) -> nn.Module:
        space: dict[str, Any] = {}
        source = f"class Net(Base):\n    def forward(self, x):\n        return {factor} * x\n"
        exec(source, {"Base": nn.Module, "__name__": "__main__"}, space)  # as in a notebook
        return space["Net"]()

    assert differing(net(1.0), net(1.0)) == set()
    assert differing(net(1.0), net(3.0)) == {"code_sha256"}


def test_what_a_forward_pass_keeps_does_not_change_the_identity() -> None:
    class Caches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.rows = torch.arange(len(x)).float()
            return x + self.rows[:, None]

    model = KipoiModel(Caches())
    before = model.identity()
    model.locked.module(torch.ones(3, 2))
    assert model.identity() == before


def test_another_process_finds_the_same_identity(tmp_path: Path) -> None:
    make_toy(tmp_path)
    model = kipoi.get_model(str(tmp_path / "model"), source="dir")
    program = (
        "import kipoi, sys, json; from kipoi_mcdropout.model.identity import model_identity as f;"
        "m = kipoi.get_model(sys.argv[1], source='dir', with_dataloader=False);"
        "print(json.dumps(f(m)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "model")],
        capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert json.loads(done.stderr.strip().splitlines()[-1]) == model_identity(model)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("torch.sigmoid(self.dense", "torch.tanh(self.dense", "code_sha256"),
        ("{p: 0.5}", "{p: 0.4}", "settings_sha256"),
        ("FOXA2", "CEBPB", "settings_sha256"),
    ],
)
def test_the_folder_of_a_kipoi_model_is_its_code(tmp_path: Path, old: str, new: str, key: str) -> None:
    toy = make_toy(tmp_path)
    files = [toy.model / "model.py", toy.model / "model.yaml"]
    files[1].write_text(files[1].read_text().replace("{'p': 0.5}", "{p: 0.5}"))
    one = model_identity(kipoi.get_model(str(toy.model), source="dir"))
    for file in files:
        file.write_text(file.read_text().replace(old, new))
    other = model_identity(kipoi.get_model(str(toy.model), source="dir"))
    assert key in {name for name in one if one[name] != other[name]}


def test_a_model_without_a_torch_module_has_none() -> None:
    with pytest.raises(ModelError, match="a PyTorch model is required"):
        model_identity(SimpleNamespace(model=None))


def test_shards_of_two_models_are_not_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = make_toy(tmp_path)
    code = toy.model / "model.py"
    code.write_text(code.read_text().replace("torch.sigmoid(self", "1.0 * torch.sigmoid(self"))
    out = str(tmp_path / "out.h5")

    def shard(text: str) -> None:
        words = [str(toy.model), "--source", "dir", "--model_input", "seq", "--n_draws", "2"]
        data = json.dumps(toy.dataloader_args)
        run("ism", "ism", [*words, "--dataloader_args", data, "--end", "2", "--shard", text, "-o", out])

    shard("1/2")
    code.write_text(code.read_text().replace("1.0 * torch.sigmoid", "3.0 * torch.sigmoid"))
    shard("2/2")
    with pytest.raises(SystemExit) as stop:
        run("merge", "merge", [f"{out}.shards"])
    assert stop.value.code == 2
    assert "model" in capsys.readouterr().err
    assert not Path(out).exists()
