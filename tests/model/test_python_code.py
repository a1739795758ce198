"""A network by `path/to/file.py:NAME` and `package.module:NAME`; each error names what is wrong."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from network_files import Files, make_files, sequences
from torch import nn

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.python_code import CodeName
from kipoi_mcdropout.model.source import ModelSource


@pytest.fixture(autouse=True)
def _same_path_and_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test imports is forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        if not name.startswith(("torch", "kipoi", "numpy")):
            del sys.modules[name]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return make_files(tmp_path / "user")


def output(model: mcd.Model) -> torch.Tensor:
    with torch.no_grad():
        return model.adapter.locked.module(torch.from_numpy(sequences()))


def test_a_file_and_weights_are_the_network(files: Files) -> None:
    model = mcd.load_model(files.named(), weights=files.weights)
    with torch.no_grad():
        expected = files.net(torch.from_numpy(sequences()))
    assert torch.equal(output(model), expected)
    assert model.name == files.named()
    assert model.source == "file"
    assert not model.adapter.locked.module.training


@pytest.mark.parametrize("name", ["build", "Net"])
def test_arguments_reach_a_class_or_function(files: Files, name: str) -> None:
    from network_files import trained

    path = files.folder / "wide.pt"
    torch.save(trained(3, n_filters=7).state_dict(), path)
    model = mcd.load_model(files.named(name), weights=path, model_kwargs={"n_filters": 7})
    with torch.no_grad():
        assert torch.equal(output(model), trained(3, 7)(torch.from_numpy(sequences())))
    assert model.adapter.identity()["model_kwargs"] == '{"n_filters": 7}'


def test_a_module_of_a_package(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    package = files.folder / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text((files.folder / "layers.py").read_text())
    text = files.code.read_text().replace("from layers", "from .layers")
    (package / "deep.py").write_text(text)
    monkeypatch.chdir(files.folder)
    by_name = mcd.load_model("my_package.deep:Net", weights="weights.pt")
    by_file = mcd.load_model("my_package/deep.py:Net", weights="weights.pt")
    assert torch.equal(output(by_name), output(by_file))
    assert (by_name.source, by_file.source) == ("module", "file")
    assert by_name.adapter.files == {"model_weights": "weights.pt"}
    assert by_file.adapter.files["model_code"] == "my_package/deep.py"


def test_the_neighbour_of_each_file_is_its_own(tmp_path: Path) -> None:
    """Two folders have a layers.py: the second must not get the first's from Python's cache."""
    one, two = make_files(tmp_path / "one"), make_files(tmp_path / "two")
    (two.folder / "layers.py").write_text(
        (two.folder / "layers.py").read_text().replace("nn.ReLU", "nn.Tanh")
    )
    first = mcd.load_model(one.named(), weights=one.weights)
    second = mcd.load_model(two.named(), weights=two.weights)
    kinds = [type(m.adapter.locked.module.block[1]) for m in (first, second)]
    assert kinds == [nn.ReLU, nn.Tanh]
    codes = [m.adapter.identity()["code_sha256"] for m in (first, second)]
    assert codes[0] != codes[1]
    again = mcd.load_model(one.named(), weights=one.weights)
    assert again.adapter.identity() == first.adapter.identity()


def test_an_edit_is_seen_by_the_next_load(files: Files) -> None:
    mcd.load_model(files.named(), weights=files.weights)
    layers = files.folder / "layers.py"
    layers.write_text(layers.read_text().replace("nn.ReLU", "nn.SiLU"))
    model = mcd.load_model(files.named(), weights=files.weights)
    assert type(model.adapter.locked.module.block[1]) is nn.SiLU


def test_a_file_may_have_the_name_of_a_library(files: Files) -> None:
    path = files.folder / "random.py"
    path.write_text(files.code.read_text())
    assert mcd.load_model(f"{path}:Net", weights=files.weights).name == f"{path}:Net"
    assert sys.modules["random"] is random


def test_code_in_a_dataclass_and_imports_in_forward(files: Files) -> None:
    """Both need the module to stay known, and its folder on the search path."""
    (files.folder / "late.py").write_text("FACTOR = 2.0\n")
    files.code.write_text(
        "from __future__ import annotations\nimport dataclasses\nimport torch\nfrom torch import nn\n"
        "@dataclasses.dataclass\nclass Config:\n    n: dataclasses.InitVar[int] = 2\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.drop = nn.Dropout(0.5)\n"
        "    def forward(self, x):\n        from late import FACTOR\n"
        "        return self.drop(x).flatten(1)[:, :2] * FACTOR\n"
    )
    model = mcd.load_model(files.named())  # it has no weights that could be random
    x = sequences()
    assert np.array_equal(mcd.mc_predict(model, x, 0).point, x.reshape(2, -1)[:, :2] * 2)


def test_random_weights_are_refused_unless_asked_for(files: Files) -> None:
    with pytest.raises(InputError, match=r"has random weights.*weights FILE.*random"):
        mcd.load_model(files.named())
    said: list[str] = []
    sources = [ModelSource(files.named(), weights="random") for _ in range(2)]
    nets = [source.load(say=said.append).model for source in sources]
    assert "random weights, as asked for" in said[0]
    assert torch.equal(nets[0].head.weight, nets[1].head.weight)


def test_a_function_that_gives_a_trained_network_needs_no_weights(files: Files) -> None:
    files.code.write_text(
        files.code.read_text() + "\n\ndef trained(path):\n    net = Net()\n"
        "    net.load_state_dict(torch.load(path, weights_only=True))\n    return net\n"
    )
    model = mcd.load_model(files.named("trained"), model_kwargs={"path": str(files.weights)})
    assert torch.equal(output(model), output(mcd.load_model(files.named(), weights=files.weights)))


def test_a_network_at_the_top_of_the_file(files: Files) -> None:
    model = mcd.load_model(files.named("ready"), weights=files.weights)
    assert torch.equal(output(model), output(mcd.load_model(files.named(), weights=files.weights)))
    with pytest.raises(InputError, match="is a network already"):
        mcd.load_model(files.named("ready"), weights=files.weights, model_kwargs={"p": 1})


def test_the_generators_are_as_before(files: Files) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    mcd.load_model(files.named(), weights="random")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


REFUSED = {
    "file": ("nowhere.py:Net", {}, r"there is no file nowhere\.py"),
    "no name": ("net.py", {}, r"net\.py is Python code.*NAME.*It defines Net, Needy"),
    "name": ("net.py:Nett", {}, r"has no 'Nett'.*It defines Net, .*build.*Is it 'Net'\?"),
    "list": ("net.py:gives_a_list", {}, "must give an nn.Module; it gave a list"),
    "number": ("net.py:tool", {}, "it is a int"),
    "class": ("net.py:NoNetwork", {}, "a class that is not one"),
    "missing": ("net.py:Needy", {}, r"needs n_filters, p: give model_kwargs.*\"n_filters\": \.\.\."),
    "unknown": ("net.py:Net", {"n_filter": 3}, "no argument 'n_filter'.*is it 'n_filters'"),
    "raises": ("net.py:raises", {}, r"RuntimeError: no such checkpoint, net\.py line \d+"),
    "package": ("no_such_package.x:Net", {}, "No module named 'no_such_package'.*Install"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_named(files: Files, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, kwargs, message = REFUSED[case]
    monkeypatch.chdir(files.folder)
    with pytest.raises(InputError, match=message):
        mcd.load_model(name, model_kwargs=kwargs, weights="weights.pt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_thing\n", r"No module named 'no_such_thing', net\.py line 1"),
        ("x = 1\nclass Net(:\n", r"SyntaxError.*net\.py line 2"),
        ("import sys\nsys.exit(3)\n", r"SystemExit: 3, net\.py line 2"),
        ("from . import layers\n", "attempted relative import"),
    ],
)
def test_errors_in_the_file_are_shown(files: Files, text: str, message: str) -> None:
    files.code.write_text(text)
    with pytest.raises(InputError, match=rf"net\.py cannot be imported: .*{message}"):
        mcd.load_model(files.named(), weights=files.weights)


def test_what_is_code_and_what_is_a_name_of_kipoi() -> None:
    assert CodeName.parse("a/b.py:Net.from_config") == CodeName("a/b.py", "Net.from_config")
    assert CodeName.parse("a.b:Net") == CodeName("a.b", "Net")
    for other in ("DeepSEA/predict", "example/model", "Basset", "net.pt", "mcdropout.yaml"):
        assert CodeName.parse(other) is None


def test_the_search_path_is_as_before(files: Files) -> None:
    before = list(sys.path)
    mcd.load_model(files.named(), weights=files.weights)
    assert sys.path == before


def test_kipoi_does_not_take_a_module_of_the_users_for_its_own(files: Files, tmp_path: Path) -> None:
    """Both have a dataloader.py with a ToyDataset; Kipoi imports it by its name."""
    from toy import make_toy

    from kipoi_mcdropout.model.load import load_kipoi_model

    toy = make_toy(tmp_path / "kipoi")
    (files.folder / "dataloader.py").write_text(
        "from kipoi.data import Dataset\nN = 5\n"
        "class ToyDataset(Dataset):\n    N = 5\n"
        "    def __init__(self, fasta_file, intervals_file): ...\n"
    )
    files.code.write_text("from dataloader import N\n" + files.code.read_text())
    mcd.load_model(files.named(), weights=files.weights)
    theirs = sys.modules["dataloader"]
    model = load_kipoi_model(str(toy.model), "dir")
    assert not hasattr(model.default_dataloader, "N")
    assert sys.modules["dataloader"] is theirs
