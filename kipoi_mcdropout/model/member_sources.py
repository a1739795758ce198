"""From what the user calls the members of a model to where each of them comes from."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.source import PICKLES, ModelSource

_WEIGHTS = (*PICKLES, ".safetensors")
_MAGIC = "*?["


def member_sources(
    model: ModelSource,
    words: Sequence[str],
    described: Callable[[str], ModelSource],
    say: Callable[[str], None] = lambda _: None,
) -> tuple[ModelSource, ...]:
    """The sources of all members, the model itself first.

    Parameters
    ----------
    model : ModelSource
    words : sequence of str
        Each a file of weights for the code of the model, another model, or a pattern of such files
        (`fold_*/weights.pt`), whose matches are taken in the order of their names.
    described : callable
        The source of another model, by what the user calls it.
    say : callable
        Takes what there is to say.

    Raises
    ------
    InputError
        If a file is not there, or a pattern matches nothing.
    """
    members: list[ModelSource] = []
    for word in words:
        is_pattern = any(letter in word for letter in _MAGIC) and not os.path.exists(word)
        for found in _matches(word) if is_pattern else [word]:
            source = _member(model, found) or described(found)
            if is_pattern and _same_file(source.weights, model.weights):
                say(f"the pattern {word} also names the model's own weights, {found}; they count once")
            else:
                members.append(source)
    bare = model.code is not None and model.weights is None
    if bare and members and members[0].code == model.code:
        say(f"no weights were given for {model.model} itself; {members[0].weights} is the first member")
        return tuple(members)
    return (model, *members)


def _matches(pattern: str) -> list[str]:
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise InputError(
            f"the pattern of members {pattern!r} matches no file. Check the path, and keep the pattern "
            "in quotation marks, so that the shell does not expand it"
        )
    return found


def _member(model: ModelSource, word: str) -> ModelSource | None:
    """Where weights for the code of the model come from; None for another model."""
    if not _is_weights(word):
        return None
    if not Path(word).is_file():
        raise InputError(f"the weights of a member, {word}, are not there. Check the path")
    if model.is_pickle:
        return ModelSource(word, trust_pickle=model.trust_pickle)
    return dataclasses.replace(model, weights=word)


def _is_weights(word: str) -> bool:
    return Path(word).suffix in _WEIGHTS


def _same_file(a: str | None, b: str | None) -> bool:
    return a is not None and b is not None and os.path.realpath(a) == os.path.realpath(b)
