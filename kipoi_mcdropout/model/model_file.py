"""The file `mcdropout.yaml`, which says of a model what the flags say, so that a group can share it."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.python_code import CodeName
from kipoi_mcdropout.model.source import KIPOI_FILES, PICKLES, RANDOM

MODEL_FILE = "mcdropout.yaml"
# To trust a file is for the one who runs it, and so is the machine.
NOT_IN_A_FILE = ("trust_pickle", "device", "allow_tf32")


def find_model_file(model: str) -> Path | None:
    """The YAML file that a MODEL names: by its path, or as the folder of a mcdropout.yaml."""
    path = Path(model)
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    if path.suffix not in (".yaml", ".yml"):
        return None
    if path.name in KIPOI_FILES:
        raise InputError(f"{path} describes a model of Kipoi: give its folder, {path.parent}, as MODEL")
    if not path.is_file():
        raise InputError(f"there is no file {path}; MODEL must be a {MODEL_FILE} that exists")
    return path


def read_model_file(path: Path, known: Sequence[str]) -> dict[str, Any]:
    """What a file says, with paths relative to the file made to paths from here.

    Raises
    ------
    InputError
        If it is no YAML, has a key that is not known, or no model.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(said, dict):
        raise InputError(f"{path} must have keys and values, such as `model: net.py:Net`; got {said!r}")
    allowed = [name for name in known if name not in NOT_IN_A_FILE]
    for key in said:
        if key in NOT_IN_A_FILE:
            raise InputError(
                f"{path} must not have {key!r}: whoever runs the model decides it, by --{key}"
            )
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, 1)
            hint = f"; is it {near[0]!r}?" if near else "."
            raise InputError(f"{path} has the unknown key {key!r}{hint} Known: {', '.join(allowed)}")
    given = {key: value for key, value in said.items() if value is not None}
    if not isinstance(given.get("model"), str):
        raise InputError(f"{path} must have the key model, such as `model: net.py:Net`")
    return _from_here(given, path.parent)


def _from_here(said: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same with paths that lead there from the current folder."""
    found = dict(said)
    code = CodeName.parse(said["model"])
    if code is not None and code.is_file:
        found["model"] = str(CodeName(_joined(folder, code.where), code.name))
    elif code is None and _is_path(folder, said):
        found["model"] = _joined(folder, said["model"])
    if isinstance(said.get("weights"), str) and said["weights"] != RANDOM:
        found["weights"] = _joined(folder, said["weights"])
    if isinstance(said.get("members"), (list, tuple)):
        found["members"] = [_member(folder, word) for word in said["members"]]
    for key in ("outputs", "model_kwargs", "vocabulary"):
        if isinstance(said.get(key), str) and (folder / said[key]).exists():
            found[key] = _joined(folder, said[key])
    return found


def _member(folder: Path, word: Any) -> Any:
    """A file of weights, a pattern, or another model, from here."""
    if not isinstance(word, str):
        return word  # refused later, by name
    code = CodeName.parse(word)
    if code is not None:
        return str(CodeName(_joined(folder, code.where), code.name)) if code.is_file else word
    joined = folder / word
    is_path = joined.exists() or bool(glob.glob(str(joined), recursive=True)) or bool(joined.suffix)
    return _joined(folder, word) if is_path else word


def model_file_text(words: Mapping[str, Any], folder: Path, command: str) -> str:
    """The text of a file that says `words`, with paths relative to its folder.

    Parameters
    ----------
    words : mapping
        As the flags have them, without those that were not given.
    command : str
        An example of a command that uses the file, for a comment at its top.
    """
    found = {name: value for name, value in words.items() if name not in NOT_IN_A_FILE}
    code = CodeName.parse(found["model"])
    if code is not None and code.is_file:
        found["model"] = str(CodeName(_relative(code.where, folder), code.name))
    elif code is None and _is_path(Path(), found):
        found["model"] = _relative(found["model"], folder)
    if found.get("weights", RANDOM) != RANDOM:
        found["weights"] = _relative(found["weights"], folder)
    if "members" in found:
        found["members"] = [_relative_member(word, folder) for word in found["members"]]
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
    return f"# {command}\n{text}"


def _relative_member(word: str, folder: Path) -> str:
    """Weights of a member, or another model, from a folder."""
    code = CodeName.parse(word)
    if code is not None:
        return str(CodeName(_relative(code.where, folder), code.name)) if code.is_file else word
    return _relative(word, folder) if Path(word).exists() else word


def _relative(path: str, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _is_path(folder: Path, said: Mapping[str, Any]) -> bool:
    """Whether the model is a file or a folder, and not a name in the zoo."""
    path = folder / said["model"]
    is_folder = any((path / name).is_file() for name in KIPOI_FILES)
    return said.get("source") == "dir" or is_folder or path.suffix in PICKLES


def _joined(folder: Path, path: str) -> str:
    return os.path.normpath(folder / path)
