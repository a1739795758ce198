"""Where a model comes from: code and weights, a pickled network, or Kipoi; and how it is loaded."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from kipoi_mcdropout.dropout.keras_network import KerasNetwork, is_keras
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.identity import required_module, weights_checksum
from kipoi_mcdropout.model.load import load_kipoi_model
from kipoi_mcdropout.model.network import SOURCE, LoadedNetwork
from kipoi_mcdropout.model.python_code import CodeName
from kipoi_mcdropout.model.sibling_code import importable
from kipoi_mcdropout.model.weights_file import check_is_file, read_torch_file, read_weights
from kipoi_mcdropout.model.weights_fit import put_weights

RANDOM = "random"  # as --weights: the network as its class makes it, untrained
PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".tar")
KERAS_FILES = (".keras", ".h5", ".hdf5", ".json")
KIPOI_FILES = ("model.yaml", "model.yml")
Say = Callable[[str], None]


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from.

    Parameters
    ----------
    model : str
        `path/to/file.py:NAME` or `package.module:NAME`, where NAME is a class or function that gives an
        nn.Module; a Keras model (.keras, .h5, or .json with its weights); a file with a whole pickled
        network; else the name of a Kipoi model.
    source : str, optional
        Kipoi's source of a Kipoi model; "dir" by default for a folder that has a model.yaml, else
        "kipoi".
    weights : str, optional
        A file with the weights for the code or for the Keras model, or "random" for those with which the
        network is made. Of a Kipoi model: a file with weights in place of its own.
    model_kwargs : mapping
        Arguments of the class or function.
    trust_pickle : bool
        Read files that run code of their own as they are read: pickles, and Keras 3's Lambda layers.

    Raises
    ------
    InputError
        If these do not go together.
    """

    model: str
    source: str | None = None
    weights: str | None = None
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    trust_pickle: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise InputError(f"model must be a text such as net.py:Net; got {self.model!r}")
        if not isinstance(self.model_kwargs, Mapping):
            raise InputError(
                f"model_kwargs must be a dict of arguments (a JSON object); got {self.model_kwargs!r}"
            )
        if self.code is not None and self.source is not None:
            raise InputError(
                f"--source is for models of Kipoi, and {self.model} names Python code; leave it out"
            )
        if self.code is None and self.model_kwargs:
            self._refuse("model_kwargs", "Python code, path/to/file.py:NAME or package.module:NAME")
        if self.weights is not None and self.is_pickle:
            self._refuse("weights", "code or a model of Kipoi, and not with a whole pickled network")
        if self.weights == RANDOM and (self.is_kipoi or self.is_keras):
            self._refuse("weights", 'code where they are "random"')

    def _refuse(self, word: str, where: str) -> None:
        raise InputError(f"{word} (--{word}) go with {where}; MODEL is {self.model}")

    @property
    def code(self) -> CodeName | None:
        """The class or function that gives the network; None for other models."""
        return CodeName.parse(self.model)

    @property
    def is_pickle(self) -> bool:
        """Whether the model is a file with a whole network."""
        return self.code is None and self.source is None and Path(self.model).suffix in PICKLES

    @property
    def is_keras(self) -> bool:
        """Whether the model is a file of Keras."""
        return self.code is None and self.source is None and Path(self.model).suffix in KERAS_FILES

    @property
    def is_kipoi(self) -> bool:
        """Whether Kipoi loads it."""
        return self.code is None and not self.is_pickle and not self.is_keras

    @property
    def kipoi_source(self) -> str:
        """Kipoi's source of a Kipoi model."""
        if self.source is not None:
            return self.source
        return "dir" if any((Path(self.model) / name).is_file() for name in KIPOI_FILES) else "kipoi"

    def files(self) -> dict[str, str]:
        """Paths of the files that are read, by a word for each; of a Kipoi model none."""
        found = {}
        if self.is_pickle:
            found["model_pickle"] = self.model
        elif self.is_keras:
            found["model_file"] = self.model
        elif self.code is not None and self.code.is_file:
            found["model_code"] = self.code.where
        if self.weights not in (None, RANDOM):
            found["model_weights"] = str(self.weights)
        return found

    def made_with(self) -> dict[str, str]:
        """The arguments of the class, as JSON; nothing where there are none."""
        return {"model_kwargs": json.dumps(dict(self.model_kwargs))} if self.model_kwargs else {}

    def absolute(self) -> ModelSource:
        """The same with full paths, for other processes."""
        model = self.model
        if self.is_pickle or self.is_keras or (self.is_kipoi and self.kipoi_source == "dir"):
            model = os.path.abspath(model)
        elif self.code is not None and self.code.is_file:
            model = str(dataclasses.replace(self.code, where=os.path.abspath(self.code.where)))
        weights = self.weights
        if weights is not None and weights != RANDOM:
            weights = os.path.abspath(weights)
        return dataclasses.replace(self, model=model, weights=weights)

    def load(self, with_dataloader: bool = True, say: Say = lambda _: None) -> Any:
        """Load the model.

        Parameters
        ----------
        with_dataloader : bool
            Also load the default dataloader of a Kipoi model.
        say : callable
            Takes what there is to say, a sentence at a time.

        Returns
        -------
        LoadedNetwork, or what `kipoi.get_model` returns

        Raises
        ------
        InputError
            If there is no such code or file, the code fails, or the weights are not the network's.
        """
        if self.is_kipoi:
            return self._kipoi_model(with_dataloader, say)
        if self.is_keras:
            return LoadedNetwork(_from_keras(self), self, "keras")
        if self.is_pickle:
            return LoadedNetwork(_unpickled(self).eval(), self, "pickle")
        code = self.code
        assert code is not None, "a model is Kipoi's, a pickle or code"
        network = _from_code(self, code, say)
        if not is_keras(network):
            network.eval()
        return LoadedNetwork(network, self, "file" if code.is_file else "module")

    def _kipoi_model(self, with_dataloader: bool, say: Say) -> Any:
        if self.weights is not None:
            check_is_file(Path(self.weights))
        model = load_kipoi_model(self.model, self.kipoi_source, with_dataloader)
        if self.weights is not None:
            with_weights(required_module(model), self, say)
            setattr(model, SOURCE, self)
        return model


def with_weights(network: nn.Module, source: ModelSource, say: Say) -> None:
    """Put the weights of a source into a network."""
    path = Path(str(source.weights))
    model = network.keras_model if isinstance(network, KerasNetwork) else network
    if is_keras(model):
        from kipoi_mcdropout.model.keras.load import load_keras_weights

        load_keras_weights(model, path)
        return
    weights = read_weights(path, source.trust_pickle)
    for note in [*weights.notes, *put_weights(network, weights.state, path)]:
        say(note)


def _from_keras(source: ModelSource) -> Any:
    """A Keras model, where Keras itself has put its weights."""
    for path in (source.model, source.weights):
        if path is not None:
            check_is_file(Path(path))
    from kipoi_mcdropout.model.keras.load import load_keras_model

    return load_keras_model(source.model, source.weights, trust_code=source.trust_pickle)


def _from_code(source: ModelSource, code: CodeName, say: Say) -> nn.Module:
    if source.weights not in (None, RANDOM):
        check_is_file(Path(str(source.weights)))  # before the code runs, which may take long
    network = code.network(source.model_kwargs)
    if source.weights is None:
        _refuse_random(source, code, network)
    elif source.weights == RANDOM:
        say(f"{code} has random weights, as asked for: the results mean nothing")
    else:
        with_weights(network, source, say)
    return network


def _refuse_random(source: ModelSource, code: CodeName, network: nn.Module) -> None:
    """Refuse a network whose weights another state of the random generators would change."""
    if weights_checksum(network) != weights_checksum(code.network(source.model_kwargs, seed=1)):
        raise InputError(
            f"{code} has random weights, as it is made anew: give the trained ones with weights "
            '(--weights FILE), or weights="random" (--weights random) to try out an untrained network'
        )


def _unpickled(source: ModelSource) -> nn.Module:
    path = Path(source.model)
    check_is_file(path)
    with importable(None), importable(path):  # for the code of its classes
        value = read_torch_file(path, source.trust_pickle)
    if isinstance(value, nn.Module):
        return value
    what = "only weights" if isinstance(value, Mapping) else f"a {type(value).__name__}"
    raise InputError(
        f"{path} has {what} and no network: give the network's code as MODEL, file.py:NAME, and this "
        f"file by --weights {path}"
    )
