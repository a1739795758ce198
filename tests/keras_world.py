"""Keras models for tests: files that Keras 2 wrote, and Kipoi directories of them.

The tests that need Keras skip by name where it is not installed; with CI=true they fail instead.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import Toy, make_toy

FILES = Path(__file__).parent / "model" / "keras_files"

_YAML = """
{maker}
args:
{args}
default_dataloader: .
info:
  authors: [{{name: Test}}]
  doc: toy
schema:
  inputs:
    name: seq
    shape: (24, 4)
    special_type: DNASeq
    doc: one-hot sequence
  targets:
    name: binding
    shape: ({n},)
    doc: "{doc}"
    column_labels: [{labels}]
"""

OBJECTS_PY = """
import keras


class MonteCarloDropout(keras.layers.Dropout):
    def call(self, inputs, training=None):
        return super().call(inputs, training=True if training is None else training)


OBJECTS = {"MonteCarloDropout": MonteCarloDropout}
"""


def import_keras() -> Any:
    """Keras on torch, or the test is skipped."""
    if importlib.util.find_spec("keras") is None and os.environ.get("CI") != "true":
        why = "Keras is not installed: pip install 'kipoi_mcdropout[keras]'"
        pytest.skip(why, allow_module_level=True)
    from kipoi_mcdropout.model.keras import backend

    return backend.import_keras()


def predictions() -> dict[str, np.ndarray]:
    """One-hot inputs "x", shape=(3, 24, 4), and what TensorFlow predicted, by "model_output"."""
    with np.load(FILES / "predictions.npz") as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def kipoi_folder(folder: Path, name: str) -> Toy:
    """A Kipoi directory of "cnn" (whole model) or "rnn" (architecture, weights, custom objects)."""
    toy = make_toy(folder)
    for file in ("model.py", "weights.pt"):
        (toy.model / file).unlink()
    if name == "cnn":
        args, labels, maker = ["weights: cnn.h5"], ["A", "B"], "type: keras"
        shutil.copy(FILES / "cnn.h5", toy.model)
    else:
        args = ["arch: rnn.json", "weights: rnn_weights.h5", "custom_objects: custom_objects.py"]
        args += ["backend: tensorflow", "image_dim_ordering: tf"]
        labels, maker = ["A"], "defined_as: kipoi.model.KerasModel"
        (toy.model / "custom_objects.py").write_text(OBJECTS_PY)
        for file in ("rnn.json", "rnn_weights.h5"):
            shutil.copy(FILES / file, toy.model)
    text = _YAML.format(
        maker=maker, args="\n".join(f"  {arg}" for arg in args), n=len(labels), labels=", ".join(labels),
        doc="As some models of the zoo have it, longer than the name of a file may be. " * 5,
    )  # fmt: skip
    (toy.model / "model.yaml").write_text(text)
    dataloader = (toy.model / "dataloader.py").read_text()
    dataloader = dataloader.replace('"inputs": {"seq": one_hot}', '"inputs": one_hot')
    (toy.model / "dataloader.py").write_text(dataloader)
    schema = (toy.model / "dataloader.yaml").read_text()
    schema = schema.replace("    seq:\n      shape", "    name: seq\n    shape")
    schema = schema.replace("      special_type: DNASeq\n      doc", "    special_type: DNASeq\n    doc")
    (toy.model / "dataloader.yaml").write_text(schema)
    return toy
