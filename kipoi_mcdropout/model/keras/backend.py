"""Keras itself, on its torch backend: imported only where a Keras model is asked for."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

from kipoi_mcdropout.errors import ModelError

_VARIABLE = "KERAS_BACKEND"
_LEAST = 3


def import_keras() -> Any:
    """The module `keras`, version 3, on torch.

    The environment variable KERAS_BACKEND is set where it is not, and only if Keras is not imported yet.

    Raises
    ------
    ModelError
        If Keras is not installed, is older than 3, or runs on another backend.
    """
    if "keras" not in sys.modules:
        if importlib.util.find_spec("keras") is None:
            raise ModelError(
                "a Keras model needs Keras 3, which is not installed: "
                "pip install 'kipoi_mcdropout[keras]'"
            )
        os.environ.setdefault(_VARIABLE, "torch")
    try:
        import keras
    except ImportError as error:  # its backend, most often
        raise ModelError(
            f"Keras cannot be imported with {_VARIABLE}={os.environ.get(_VARIABLE)} ({error}). Set "
            f"{_VARIABLE}=torch"
        ) from error
    if int(keras.__version__.partition(".")[0]) < _LEAST:
        raise ModelError(
            f"Keras 3 is required; version {keras.__version__} is installed: pip install "
            "'kipoi_mcdropout[keras]'"
        )
    if keras.config.backend() != "torch":
        raise ModelError(
            f"Keras must run on torch; it was imported with the backend {keras.config.backend()}. Set "
            f"the environment variable {_VARIABLE}=torch before Keras is imported, in a new process"
        )
    return keras


def uses_torch_for_keras() -> bool:
    """Whether Kipoi's Keras models are loaded by Keras on torch, and not by TensorFlow.

    So it is where KERAS_BACKEND is torch, where Keras already runs on torch, or where there is no
    TensorFlow.
    """
    keras: Any = sys.modules.get("keras")
    if hasattr(keras, "config"):
        return bool(keras.config.backend() == "torch")
    if _VARIABLE in os.environ:
        return os.environ[_VARIABLE] == "torch"
    return importlib.util.find_spec("tensorflow") is None
