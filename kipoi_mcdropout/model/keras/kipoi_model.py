"""Kipoi's Keras models without TensorFlow: the same files, loaded by Keras 3 on torch.

`kipoi.get_model` makes a `kipoi.model.KerasModel`, whose constructor imports TensorFlow. While
`keras_on_torch` is active, a class with another constructor stands in its place. What Kipoi adds to a
model (schema, dataloader, name, source) it adds to this one as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import kipoi.model

from kipoi_mcdropout.errors import ModelError
from kipoi_mcdropout.model.keras.backend import import_keras
from kipoi_mcdropout.model.keras.load import load_keras_model


class TorchKerasModel(kipoi.model.KerasModel):  # type: ignore[misc]
    """A Keras model of Kipoi on torch.

    Parameters
    ----------
    weights : str
        File of the weights, or of the whole model.
    arch : str, optional
        File of the architecture (JSON).
    custom_objects : str, optional
        Python file with a dict OBJECTS: the model's own layers and functions by name.
    backend : str, optional
        With which the model was used; "theano" tells how its convolutions are to be read.
    image_dim_ordering : str, optional
        Must be "tf".

    Raises
    ------
    ModelError
        See `load_keras_model`; also if `custom_objects` cannot be imported.
    """

    def __init__(
        self,
        weights: str,
        arch: str | None = None,
        custom_objects: str | None = None,
        backend: str | None = None,
        image_dim_ordering: str | None = None,
    ) -> None:
        if image_dim_ordering not in (None, "tf"):
            raise ModelError(
                f"image_dim_ordering must be 'tf' (channels last); got {image_dim_ordering!r}"
            )
        import_keras()
        self.weights, self.arch = weights, arch
        self.backend, self.image_dim_ordering = backend, image_dim_ordering
        self.custom_objects = _custom_objects(custom_objects)
        path, apart = (weights, None) if arch is None else (arch, weights)
        self.model = load_keras_model(path, apart, self.custom_objects, backend=backend)


@contextmanager
def keras_on_torch() -> Iterator[None]:
    """Within it, `kipoi.get_model` loads Keras models on torch."""
    makers = {**kipoi.model.AVAILABLE_MODELS, "keras": TorchKerasModel}
    os.environ.setdefault("KERAS_BACKEND", "torch")  # for files that import Keras themselves
    with ExitStack() as stack:
        stack.enter_context(patch.object(kipoi.model, "KerasModel", TorchKerasModel))
        stack.enter_context(patch.dict(kipoi.model.AVAILABLE_MODELS, makers))
        stack.enter_context(patch.object(kipoi.model, "cd", _loading_by_us(kipoi.model.cd, stack)))
        yield


def _loading_by_us(cd: Any, stack: ExitStack) -> Any:
    """Kipoi's change into the folder of a model; where its code uses Keras, `load_model` is ours.

    Keras's own would read some files of Keras 2 as another model (see translate.py).
    """
    done: list[Any] = []

    @contextmanager
    def change_folder(folder: Any) -> Iterator[None]:
        if not done and _uses_keras(Path(folder)):
            done.append(folder)
            keras = import_keras()
            for place in (keras.models, keras.saving):
                stack.enter_context(patch.object(place, "load_model", _load_model))
        with cd(folder):
            yield

    return change_folder


def _load_model(
    filepath: Any,
    custom_objects: Any = None,
    compile: bool = True,  # noqa: ARG001  (Keras's signature)
    safe_mode: bool = True,
) -> Any:
    return load_keras_model(filepath, None, custom_objects, trust_code=not safe_mode)


def _uses_keras(folder: Path) -> bool:
    return any("keras" in file.read_text("utf-8", "replace") for file in sorted(folder.glob("*.py")))


def _custom_objects(path: str | None) -> dict[str, Any]:
    if path is None or not os.path.exists(path):
        return {}
    try:
        return dict(kipoi.model.load_module(path).OBJECTS)
    except ImportError as error:
        raise ModelError(
            f"the model's own layers, in {os.path.basename(path)}, cannot be imported: {error}. "
            "Write them with keras.ops in place of TensorFlow's functions"
        ) from error
