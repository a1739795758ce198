"""Weights of every kind of file, with prefixes, and what does not fit by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from network_files import LENGTH, Files, Net, make_files, sequences
from safetensors.torch import save_file, save_model
from torch import nn

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.source import ModelSource
from kipoi_mcdropout.model.weights_file import read_weights
from kipoi_mcdropout.model.weights_fit import put_weights


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("user"))


class Hyper:
    """An object of the user's in a checkpoint."""


def _saved(value: Any) -> Any:
    return lambda path, net: torch.save(value(net.state_dict()), path)


def _prefixed(prefix: str) -> Any:
    return lambda state: {prefix + name: value for name, value in state.items()}


KINDS = {
    "state_dict": ("w.pth", _saved(lambda state: state), ""),
    "safetensors": ("w.safetensors", lambda path, net: save_file(net.state_dict(), path), ""),
    "Lightning": (
        "w.ckpt",
        _saved(
            lambda state: {"epoch": 3, "state_dict": _prefixed("model.")(state), "callbacks": {"a": 1}}
        ),
        "under 'state_dict'.*not used: epoch, callbacks.*begin with 'model.', which is taken off",
    ),
    "model_state_dict": (
        "w.pt",
        _saved(lambda state: {"model_state_dict": state, "optimizer": {}}),
        "under 'model_state_dict'",
    ),
    "model": ("w.pt", _saved(lambda state: {"model": state}), "under 'model'"),
    "DataParallel": ("w.pt", _saved(_prefixed("module.")), "begin with 'module.'"),
    "compiled": ("w.pt", _saved(_prefixed("_orig_mod.")), "begin with '_orig_mod.'"),
    "both": ("w.pt", _saved(_prefixed("model._orig_mod.")), "begin with 'model._orig_mod.'"),
    "net": ("w.pt", _saved(_prefixed("net.")), "begin with 'net.'"),
    "others": (
        "w.pt",
        _saved(lambda s: {**_prefixed("model.")(s), "loss.weight": torch.ones(2)}),
        "1 entries of .* without 'model.' are not used: 'loss.weight'",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_arrive(files: Files, tmp_path: Path, kind: str) -> None:
    name, save, message = KINDS[kind]
    save(tmp_path / name, files.net)
    said: list[str] = []
    source = ModelSource(files.named(), weights=str(tmp_path / name))
    net = source.load(say=said.append).model
    for own, there in zip(net.state_dict().values(), files.net.state_dict().values(), strict=True):
        assert torch.equal(own, there)
    assert bool(said) == bool(message)
    assert re.search(message, " ".join(said)), said


def test_the_notes_are_none_for_a_plain_state_dict(files: Files) -> None:
    assert read_weights(files.weights).notes == ()


def test_tied_weights_of_safetensors(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

    one, two = Tied(), Tied()
    path = tmp_path / "tied.safetensors"
    save_model(one, str(path))
    assert len(read_weights(path).state) == 3
    assert put_weights(two, read_weights(path).state, path) == []
    assert torch.equal(one.b.weight, two.b.weight)
    assert torch.equal(two.a.weight, two.b.weight)


def test_other_types_of_numbers_are_said(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "half.pt"
    state = files.net.state_dict()
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)
    said = put_weights(Net(), read_weights(path).state, path)
    assert said == [f"weights that are float16 in {path} are float32 in the network"]


def _without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {k: v for k, v in state.items() if k != name}


WRONG = {
    "missing": (lambda s: _without(s, "head.bias"), "1 of the network's are missing.*'head.bias'"),
    "unexpected": (lambda s: {**s, "tail.x": torch.ones(1)}, "1 in the file are unknown.*'tail.x'"),
    "shape": (
        lambda s: {**s, "head.weight": torch.ones(2, 7)},
        rf"'head.weight' has shape \(2, 7\) in the file and \(2, {5 * (LENGTH - 2)}\) in the network",
    ),
    "another network": (
        lambda _: {f"layer{i}.weight": torch.ones(1) for i in range(9)},
        r"are missing.*and \d+ more; 9 in the file are unknown.*and 6 more",
    ),
    "two ways": (
        lambda s: {**_prefixed("model.")(s), **_prefixed("module.")(s)},
        "fit the network in several ways, under 'module.' and 'model.'",
    ),
    "no weights": (lambda _: {"epoch": 3}, "it has epoch"),
    "a tensor": (lambda _: torch.ones(3), "it is a Tensor"),
    "empty": (lambda _: {}, "it has nothing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(files: Files, tmp_path: Path, case: str) -> None:
    change, message = WRONG[case]
    path = tmp_path / "w.pt"
    torch.save(change(files.net.state_dict()), path)
    with pytest.raises(InputError, match=message):
        ModelSource(files.named(), weights=str(path)).load()


def test_files_that_are_no_weights(files: Files, tmp_path: Path) -> None:
    for name in ("w.pt", "w.safetensors"):
        (tmp_path / name).write_text("not weights")
        with pytest.raises(InputError, match=rf"{name} cannot be read as"):
            ModelSource(files.named(), weights=str(tmp_path / name)).load()
    with pytest.raises(InputError, match="is a folder"):
        ModelSource(files.named(), weights=str(tmp_path)).load()


def test_a_checkpoint_with_objects_is_read_only_if_trusted(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "objects.ckpt"
    torch.save({"state_dict": files.net.state_dict(), "hyper": Hyper()}, path)
    with pytest.raises(InputError, match=r"it calls test_weights\.Hyper.*runs code.*--trust_pickle"):
        ModelSource(files.named(), weights=str(path)).load()
    trusted = ModelSource(files.named(), weights=str(path), trust_pickle=True).load()
    assert torch.equal(trusted.model.head.weight, files.net.head.weight)


class _Bomb:
    """Runs code as it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_code_in_a_file_is_not_run(files: Files, tmp_path: Path) -> None:
    mark = tmp_path / "has_run"
    path = tmp_path / "bomb.pt"
    torch.save({"state_dict": files.net.state_dict(), "bomb": _Bomb(mark)}, path)
    for source in (ModelSource(files.named(), weights=str(path)), ModelSource(str(path))):
        with pytest.raises(InputError, match="runs code that is in the file"):
            source.load()
    assert not mark.exists()
    ModelSource(files.named(), weights=str(path), trust_pickle=True).load()
    assert mark.exists()


def test_a_whole_network_is_read_only_if_trusted(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(files.net, path)
    with pytest.raises(InputError, match=r"calls network_files\.Net.*runs code"):
        ModelSource(str(path)).load()
    loaded = ModelSource(str(path), trust_pickle=True).load()
    x = torch.from_numpy(sequences())
    with torch.no_grad():
        assert torch.equal(loaded.model(x), files.net(x))
    assert loaded.source.files() == {"model_pickle": str(path)}
    assert loaded.source_name == "pickle"
    with pytest.raises(InputError, match="does not exist"):
        ModelSource(str(tmp_path / "other.pt")).load()
    with pytest.raises(InputError, match=r"only weights and no network.*file\.py:NAME"):
        ModelSource(str(files.weights)).load()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_refused_by_name(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.trace(files.net, torch.from_numpy(sequences())), path)
    for source in (
        ModelSource(str(path), trust_pickle=True),
        ModelSource(files.named(), weights=str(path)),
    ):
        with pytest.raises(InputError, match="is TorchScript"):
            source.load()
