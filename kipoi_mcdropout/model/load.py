"""Load a Kipoi model, with what `kipoi.get_model` lacks today for PyTorch and Keras."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch

from kipoi_mcdropout.model.keras.backend import uses_torch_for_keras
from kipoi_mcdropout.model.sibling_code import hidden


def load_kipoi_model(name: str, source: str, with_dataloader: bool = True) -> Any:
    """What `kipoi.get_model` returns.

    Weights that were saved on a GPU are loaded where there is none, and the model's Python file has its
    path as `__file__`. Keras models are loaded by Keras 3 on torch where KERAS_BACKEND is torch, or
    where TensorFlow is not installed. Kipoi's own files are not changed.

    Parameters
    ----------
    name : str
        Of the model in the source, such as "DeepSEA/predict"; the folder where `source` is "dir".
    source : str
        Of Kipoi: "kipoi" for the zoo, "dir" for a folder, or one of ~/.kipoi/config.yaml.
    with_dataloader : bool
        Also load the model's default dataloader.

    Raises
    ------
    ModelError
        If a Keras model cannot be had on torch with the same result; what is at fault is named.
    """
    import kipoi

    with _weights_for_this_machine(), _files_with_a_path(), _keras_on_torch(), hidden():
        return kipoi.get_model(name, source, with_dataloader=with_dataloader)


@contextmanager
def _keras_on_torch() -> Iterator[None]:
    """Where Keras is to run on torch, Kipoi's Keras models are loaded so."""
    if not uses_torch_for_keras():
        yield
        return
    from kipoi_mcdropout.model.keras.kipoi_model import keras_on_torch

    with keras_on_torch():
        yield


@contextmanager
def _weights_for_this_machine() -> Iterator[None]:
    """Where there is no GPU, `torch.load` puts weights on the CPU unless it is told otherwise."""
    if torch.cuda.is_available():
        yield
        return
    load = torch.load

    def load_here(*args: Any, **kwargs: Any) -> Any:
        if len(args) < 2:  # the second argument is map_location
            kwargs.setdefault("map_location", "cpu")
        return load(*args, **kwargs)

    with patch.object(torch, "load", load_here):
        yield


@contextmanager
def _files_with_a_path() -> Iterator[None]:
    """Kipoi runs a model's file as a module without `__file__`, in the folder of the model."""
    import kipoi.model

    def load_module(path: str, module_name: str | None = None) -> ModuleType:
        name = module_name or os.path.basename(path).removesuffix(".py")
        spec = importlib.util.spec_from_file_location(name, os.path.abspath(path))
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    with patch.object(kipoi.model, "load_module", load_module):
        yield
