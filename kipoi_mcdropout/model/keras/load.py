"""Load the files of a Keras model on torch: those of Keras 3, and those that Keras 2 wrote."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from kipoi_mcdropout.errors import McDropoutError, ModelError
from kipoi_mcdropout.model.keras.backend import import_keras
from kipoi_mcdropout.model.keras.translate import HARD_SIGMOID, hard_sigmoid_of_keras_2, translate_model
from kipoi_mcdropout.model.keras.weights import layer_weights, set_layer_weights

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def load_keras_model(
    path: str | Path,
    weights: str | Path | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    *,
    backend: str | None = None,
    trust_code: bool = False,
) -> Any:
    """A Keras model from its files, on torch, with its weights and not compiled.

    Parameters
    ----------
    path : str or Path
        A whole model (.keras, or HDF5 as Keras 2 and 3 write it), or an architecture (JSON). The content
        decides, not the ending.
    weights : str or Path, optional
        HDF5 file of weights; needed with an architecture, and possible with a whole model.
    custom_objects : mapping of str, optional
        The user's layers and functions by the names that are in the file. The name of a Lambda layer
        stands for its function.
    backend : str, optional
        Of the Keras that wrote the weights, where the file does not say it: kernels of "theano" are
        turned around.
    trust_code : bool
        Run code that a file of Keras 3 holds (Lambda layers). Code in files of Keras 2 never runs.

    Returns
    -------
    keras.Model
        Which is a torch module, too.

    Raises
    ------
    ModelError
        If Keras is missing or not on torch, if the file is of Keras 1, or if a layer cannot be had with
        the same result; it is named.
    """
    keras = import_keras()
    custom = {HARD_SIGMOID: hard_sigmoid_of_keras_2, **(custom_objects or {})}
    path = Path(path)
    try:
        with keras.saving.custom_object_scope(custom):
            return _Loader(keras, custom, backend, trust_code).model(path, weights)
    except McDropoutError as error:
        raise type(error)(f"{path.name}: {error}") from error.__cause__
    except OSError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path.name} cannot be loaded by Keras {keras.__version__}: {_in_short(error)}"
        ) from error


def load_keras_weights(model: Any, path: str | Path, backend: str | None = None) -> None:
    """Put the weights of a Keras file (HDF5) into a Keras model.

    Parameters
    ----------
    model : keras.Model
    path : str or Path
    backend : str, optional
        See `load_keras_model`.

    Raises
    ------
    ModelError
        If they are not weights of this model; it is left as it was.
    """
    _Loader(import_keras(), {}, backend, trust=False).load_weights(model, Path(path))


class _Loader:
    """What is the same for all parts of a model's files."""

    def __init__(self, keras: Any, custom: dict[str, Any], backend: str | None, trust: bool) -> None:
        self.keras, self.custom, self.backend, self.trust = keras, custom, backend, trust

    def model(self, path: Path, weights: str | Path | None) -> Any:
        if zipfile.is_zipfile(path):
            model = self._from_archive(path)
        elif h5py.is_hdf5(path):
            model = self._from_hdf5(path)
            weights = weights or path
        elif weights is None:
            _json(path)
            raise ModelError("the file is an architecture without weights: give the file of weights too")
        else:
            config = _json(path)
            wrote_3 = "module" in config and "keras_version" not in config
            model = self._built(config, {"keras_version": "3"} if wrote_3 else _origin(config))
        if weights is not None:
            self.load_weights(model, Path(weights))
        return model

    def _from_hdf5(self, path: Path) -> Any:
        """The architecture in a whole-model file of HDF5."""
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise ModelError(
                    "the file holds weights and no architecture: give the architecture (JSON) too, as "
                    "Kipoi's argument `arch`, and this file as the weights"
                )
            config = json.loads(_text(file.attrs["model_config"]))
            # Some versions wrote their number beside the weights alone.
            origin = {**_origin(file["model_weights"].attrs), **_origin(file.attrs)}
        if _major(origin) < 3:
            return self._built(config, origin)
        with _named(path, ".h5") as name:
            return self._by_keras(name)

    def _built(self, config: dict[str, Any], origin: dict[str, str]) -> Any:
        """The model of a configuration, with random weights."""
        keras = self.keras
        if _major(origin) >= 3:
            return keras.saving.deserialize_keras_object(
                config, custom_objects=self.custom, safe_mode=not self.trust
            )
        translated = translate_model(config, keras, self.custom)
        maker = getattr(keras, translated["class_name"], keras.Model)
        return maker.from_config(translated["config"], custom_objects=self.custom)

    def _from_archive(self, path: Path) -> Any:
        """A model from a .keras file, with its weights."""
        with zipfile.ZipFile(path) as archive:
            if "config.json" not in archive.namelist():
                raise ModelError("the archive is no model of Keras: it has no config.json")
            origin = _origin(json.loads(archive.read("metadata.json")))
            if _major(origin) < 3:
                model = self._built(json.loads(archive.read("config.json")), origin)
                with _temporary(archive.read("model.weights.h5"), ".weights.h5") as file:
                    model.load_weights(file)
                return model
        with _named(path, ".keras") as file:
            return self._by_keras(file)

    def _by_keras(self, path: str) -> Any:
        """A whole model that Keras 3 wrote."""
        return self.keras.saving.load_model(
            path, custom_objects=self.custom, compile=False, safe_mode=not self.trust
        )

    def load_weights(self, model: Any, path: Path) -> None:
        if not h5py.is_hdf5(path):
            raise ModelError(f"the weights must be an HDF5 file of Keras; {path.name} is none")
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)
            values = layer_weights(group)
            origin = {**_origin(file.attrs), **_origin(group.attrs)}
        if values is None:  # the layout of .keras files
            with _named(path, ".weights.h5") as name:
                model.load_weights(name)
            return
        theano = origin.get("backend", self.backend) == "theano"
        set_layer_weights(model, values, path.name, self.keras if theano else None)


def _json(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config, str):  # the text of to_json(), written by json.dump
            config = json.loads(config)
    except ValueError as error:
        raise ModelError(
            "the file is none of a Keras model: required is .keras, HDF5 or an architecture in JSON"
        ) from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise ModelError("the JSON file is no architecture of a Keras model: it has no class_name")
    return config


def _origin(values: Mapping[str, Any]) -> dict[str, str]:
    """Which Keras wrote a file: "keras_version" and "backend", where it says so."""
    found = {key: values[key] for key in ("keras_version", "backend") if key in values}
    return {key: _text(value) for key, value in found.items()}


def _major(origin: Mapping[str, str]) -> int:
    """The version of Keras that wrote a file; 2 where it says none."""
    first = origin.get("keras_version", "2").partition(".")[0]
    return int(first) if first.isdigit() else 2


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _in_short(error: Exception) -> str:
    """The first and the last line of an error of Keras, which come with many more."""
    lines = _COLOURS.sub("", str(error)).strip().split("\n")
    why = lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1]}"
    return f"{type(error).__name__}: {why[:_LONGEST]}"


_LONGEST = 500  # characters of an error of Keras, which may hold a whole configuration


@contextmanager
def _named(path: Path, ending: str) -> Iterator[str]:
    """A path to the file with the ending that Keras wants; Kipoi keeps downloads without any."""
    if path.name.endswith(ending):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"model{ending}"
        link.symlink_to(path.resolve())
        yield str(link)


@contextmanager
def _temporary(content: bytes, ending: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"model{ending}"
        file.write_bytes(content)
        yield str(file)
