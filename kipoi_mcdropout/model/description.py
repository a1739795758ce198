"""All that is said of a model, on the command line, in Python or in a file, as one checked value."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.load_members import load_members
from kipoi_mcdropout.model.member_sources import member_sources
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.model_file import find_model_file, read_model_file
from kipoi_mcdropout.model.settings import ModelSettings
from kipoi_mcdropout.model.source import ModelSource, Say
from kipoi_mcdropout.sequence.vocabulary import as_vocabulary

_OF_SOURCE = tuple(field.name for field in dataclasses.fields(ModelSource))
_OF_SETTINGS = tuple(
    field.name for field in dataclasses.fields(ModelSettings) if field.name != "readout"
)  # a readout is said of a run
# Of `load_model`, of mcdropout.yaml and, with --, of the commands.
WORDS = (*_OF_SOURCE, *_OF_SETTINGS, "members")
_NAMES = ("outputs", "ignore", "members")  # lists of texts
_NUMBERS = ("length", "category_axis", "label_axis")


@dataclass(frozen=True)
class ModelDescription:
    """Where a model comes from, and what it does not say of itself."""

    sources: tuple[ModelSource, ...]  # of the model, then of its other members
    settings: ModelSettings

    @property
    def source(self) -> ModelSource:
        """That of the model itself."""
        return self.sources[0]

    @classmethod
    def of(cls, words: Mapping[str, Any], say: Say = lambda _: None) -> ModelDescription:
        """From words of `WORDS`, and from the file that `model` may name.

        Parameters
        ----------
        words : mapping
            Those that are None are not given. They replace what the file says.
        say : callable
            Takes what there is to say, a sentence at a time.

        Raises
        ------
        InputError
            If a word is not known, or a value is not as required.
        """
        given = {name: value for name, value in words.items() if value is not None}
        check_words(given, WORDS, "load_model")
        model = given.get("model")
        path = find_model_file(model) if isinstance(model, str) and "source" not in given else None
        if path is not None:
            del given["model"]
            said = read_model_file(path, WORDS)
            for name, value in given.items():
                if name in said and _checked(name, said[name]) != _checked(name, value):
                    say(f"{name} is {_shown(value)}, in place of {_shown(said[name])} in {path}")
            given = {**said, **given}
        checked = {name: _checked(name, value) for name, value in given.items()}
        source = {name: value for name, value in checked.items() if name in _OF_SOURCE}
        settings = {name: value for name, value in checked.items() if name in _OF_SETTINGS}
        settings.setdefault("device", "auto")
        model_source = ModelSource(**{"model": "", **source})
        trusted = {"trust_pickle": model_source.trust_pickle}

        def described(member: str) -> ModelSource:
            return cls.of({"model": member, **trusted}, say).source

        sources = member_sources(model_source, checked.get("members", ()), described, say)
        return cls(sources, ModelSettings(**settings))

    def load(
        self,
        with_dataloader: bool = False,
        memory_bytes: int | None = None,
        say: Say = lambda _: None,
    ) -> Model:
        """The model, ready; see `ModelSource.load` and `load_members`."""

        def load(number: int, source: ModelSource) -> Any:
            return source.load(with_dataloader and number == 0, say)

        return Model.of(load_members(self.sources, load, memory_bytes, say), self.settings)


def load_model(model: str | Path, *, memory_bytes: int | None = None, **words: Any) -> Model:
    """Load a model from Python code and weights, from a file that describes it, or from Kipoi.

    Parameters
    ----------
    model : str or Path
        `path/to/file.py:NAME` or `package.module:NAME`, where NAME is a class or function that gives an
        nn.Module; a Keras model (.keras, .h5, or .json with its weights); a mcdropout.yaml or its
        folder; or a model of Kipoi, a folder with a model.yaml or a name in the zoo.
    weights : str or Path
        Weights for the code: a state_dict (.pt, .pth, .safetensors) or a checkpoint that has one, as
        Lightning writes it; a prefix such as `module.` or `model.` before all names is taken off.
        "random": those with which the network is made, to try out an untrained one.
    model_kwargs : dict
        Arguments of the class or function.
    source : str
        Kipoi's source of a Kipoi model.
    members : list of str or Path
        Further trained networks of an ensemble: files of weights for the same code, other models, or
        patterns such as "fold_*/weights.pt".
    trust_pickle : bool
        Also read files that can run code as they are read: a whole pickled network (then `model` may be
        its file), or a checkpoint with Python objects.
    device : str
        "auto" (the default: a GPU of CUDA where there is one, else the CPU), "cpu", "cuda", "cuda:N" or
        "mps"; `allow_tf32` lets a GPU of NVIDIA round float32 products to TF32.
    memory_bytes : int
        Weights of several members that are together larger than half of this (by default of 1 GB) are
        kept in temporary files, and only those of the member that computes need to be in memory.
    **words
        The keyword arguments of `Model`: outputs, input_shape, length, alphabet, ...

    Returns
    -------
    Model
        It can be loaded again by other processes, so that all schedulers can be used.

    Raises
    ------
    InputError
        If a word is not known, the code fails, or the weights are not those of the network.
    """
    said = {name: str(value) if isinstance(value, Path) else value for name, value in words.items()}
    if isinstance(said.get("members"), (list, tuple)):
        said["members"] = [str(x) if isinstance(x, Path) else x for x in said["members"]]
    return ModelDescription.of({"model": str(model), **said}).load(True, memory_bytes)


def check_words(words: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raise InputError for a word that is not known, with the most similar one."""
    for name in words:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; is it {near[0]!r}?" if near else "."
            raise InputError(f"{where} does not know {name!r}{hint} It knows {', '.join(known)}")


def _checked(name: str, value: Any) -> Any:
    """A value of a word in its final form."""
    if name in _CHECKS:
        return _CHECKS[name](name, value)
    if name in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int)):
        raise InputError(f"{name} must be a whole number; got {value!r}")
    return value


def _names(name: str, value: Any) -> tuple[str, ...]:
    """A list of texts; one text that names a file stands for the lines of the file."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        raise InputError(f"{name} must be a list of names; got {value!r}")
    if name == "outputs" and len(texts) == 1 and Path(str(texts[0])).is_file():
        return lines_of(Path(texts[0]))
    for text in texts:
        if not isinstance(text, str):
            quoted = f'. In YAML write "{text}" with quotation marks' if name == "outputs" else ""
            raise InputError(f"{name} must be texts; got {text!r}{quoted}")
    return tuple(texts)


def lines_of(path: Path) -> tuple[str, ...]:
    """The labels in a file, one a line; empty lines are left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file of outputs {path} cannot be read as text: {error}") from error
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise InputError(f"the file of outputs {path} must have a label in each line; it is empty")
    return found


def _shape(name: str, value: Any) -> tuple[int, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        numbers = tuple(int(part) for part in parts if not isinstance(part, bool))
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or len(numbers) != len(parts):
        raise InputError(f"{name} must be the shape of one input, such as 4,500; got {value!r}")
    return numbers


def _arguments(name: str, value: Any) -> Any:
    """A JSON object: as text, as the path of a file, or as it is."""
    if not isinstance(value, str):  # checked by ModelSource
        return value
    is_file = not value.lstrip().startswith("{") and Path(value).is_file()
    try:
        found = json.loads(Path(value).read_text(encoding="utf-8") if is_file else value)
    except (ValueError, OSError) as error:
        raise InputError(
            f"{name} (--{name}) must be a JSON object such as '{{\"n_filters\": 64}}', or the path of a "
            f"file with one; got {value!r} ({error})"
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{name} (--{name}) must be a JSON object, {{...}}; got {value!r}")
    return found


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false; got {value!r}")
    return value


def _path(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{name} must be the path of a file; got {value!r}")
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(_NAMES, _names), "input_shape": _shape, "model_kwargs": _arguments,
    "extra_inputs": _arguments, "trust_pickle": _truth, "weights": _path,
    "vocabulary": lambda _, value: as_vocabulary(value),
}  # fmt: skip


def _shown(value: Any) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value)
    return ", ".join(map(str, value[:5])) + (", ..." if len(value) > 5 else "")
