"""Where a model computes, and how products are rounded; what needs a GPU is skipped without one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import Linear, fixed, one_hot
from torch import Tensor, backends

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli.commands import audit
from kipoi_mcdropout.dropout import device as devices
from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.runs.options import RunOptions

CPU = torch.device("cpu")
NO_GPU = not torch.cuda.is_available()


@pytest.fixture(autouse=True)
def _same_precision() -> Iterator[None]:
    yield
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = True


def precision() -> tuple[Any, ...]:
    """All that torch says of float32 products, by both of its ways."""
    parts = (
        backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul,
        backends.mkldnn.conv, backends.mkldnn.rnn,
    )  # fmt: skip
    said = torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32
    return *said, *(part.fp32_precision for part in parts)


def listening() -> tuple[Linear, list[tuple[Any, ...]]]:
    """A network, and how products were rounded during its passes."""
    seen: list[tuple[Any, ...]] = []

    class Listening(Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(precision())
            return self.body(x)

    return fixed(Listening()), seen


@pytest.mark.parametrize("word", ["highest", "high", "medium"])
@pytest.mark.parametrize("cudnn", [True, False])
def test_products_are_those_of_float32_and_the_settings_come_back(word: str, cudnn: bool) -> None:
    torch.set_float32_matmul_precision(word)
    backends.cudnn.allow_tf32 = cudnn
    before, (net, seen) = precision(), listening()
    mcd.mc_predict(net, one_hot(3), n_draws=2)
    assert precision() == before
    assert seen
    for said, cudnn_allows, *values in seen:
        assert (said, cudnn_allows) == ("highest", False)
        assert set(values) <= {"ieee", "none"}


def test_settings_by_torchs_newer_names_come_back_too() -> None:
    backends.mkldnn.matmul.fp32_precision = "bf16"
    backends.mkldnn.conv.fp32_precision = "bf16"
    try:
        with LockedModel(fixed(Linear())).borrow():
            assert backends.mkldnn.conv.fp32_precision == "ieee"
            assert backends.mkldnn.matmul.fp32_precision == "ieee"
        assert backends.mkldnn.conv.fp32_precision == "bf16"
        assert backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        backends.mkldnn.matmul.fp32_precision = backends.mkldnn.conv.fp32_precision = "none"


def test_tf32_is_allowed_where_it_is_asked_for() -> None:
    net, seen = listening()
    model = mcd.Model(net).with_device("cpu", allow_tf32=True)
    mcd.mc_predict(model, one_hot(3), n_draws=2)
    assert {said[:3] for said in seen} == {("high", True, "tf32")}


def test_of_several_threads_the_last_sets_it_back() -> None:
    torch.set_float32_matmul_precision("medium")
    before, inside, leave = precision(), threading.Event(), threading.Event()

    def other() -> None:
        with LockedModel(fixed(Linear())).borrow():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    with LockedModel(fixed(Linear())).borrow():
        thread.start()
        inside.wait(60)
    assert torch.get_float32_matmul_precision() == "highest"
    leave.set()
    thread.join()
    assert precision() == before


@pytest.mark.parametrize("word", ["gpu", "cuda:", "cuda:x", "CPU", "cuda:-1", "", 0])
def test_a_word_that_names_no_device_is_refused(word: Any) -> None:
    with pytest.raises(InputError, match=r"device must be auto, cpu, cuda, cuda:N or mps; got"):
        mcd.Model(fixed(Linear())).with_device(word)


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU")
@pytest.mark.parametrize("word", ["cuda", "cuda:3", "mps"])
def test_a_device_that_is_not_here_is_refused_by_name(word: str) -> None:
    with pytest.raises(InputError, match=rf"device {word} \(--device\): torch .* finds no GPU"):
        mcd.Model(fixed(Linear())).with_device(word)


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU")
def test_auto_is_the_cpu_without_a_gpu() -> None:
    assert devices.find_device("auto") == CPU
    assert mcd.Model(fixed(Linear())).with_device("auto").device == CPU


def test_the_record_says_the_device_and_a_gpus_name(monkeypatch: pytest.MonkeyPatch) -> None:
    options = mcd.ism(fixed(Linear()), one_hot(1), n_draws=2).provenance["options"]
    assert (options["device"], options["allow_tf32"]) == ("cpu", False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA X1")
    assert devices.describe_device(torch.device("cuda", 0)) == "cuda (NVIDIA X1)"


def test_the_default_of_memory_is_a_share_of_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        total_memory = 80 * 10**9

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Card)
    assert RunOptions().memory_on(torch.device("cuda", 0)) == 32 * 10**9
    assert RunOptions(memory_bytes=5).memory_on(torch.device("cuda", 0)) == 5
    assert RunOptions().memory_on(CPU) == 10**9


@pytest.mark.parametrize("word", ["device: cuda", "allow_tf32: true"])
def test_a_model_file_must_not_say_the_device(tmp_path: Path, word: str) -> None:
    path = tmp_path / "mcdropout.yaml"
    path.write_text(f"model: net.py:Net\n{word}\n")
    name = word.split(":")[0]
    with pytest.raises(InputError, match=rf"must not have '{name}': whoever runs the model decides it"):
        audit.main([str(path)])


@pytest.mark.skipif(NO_GPU, reason="no GPU of CUDA")
def test_effects_on_a_gpu_are_those_of_the_cpu() -> None:
    net, x = fixed(Linear()), one_hot(2)
    on_cpu = mcd.ism(net, x, n_draws=4).table()
    for engine in ("full", "incremental"):
        model = mcd.Model(fixed(Linear())).with_device("cuda")
        on_gpu = mcd.ism(model, x, n_draws=4, running=mcd.RunOptions(engine=engine)).table()
        for name in ("effect_mean", "effect_sd"):
            np.testing.assert_allclose(on_gpu[name], on_cpu[name], rtol=1e-4, atol=1e-6)
