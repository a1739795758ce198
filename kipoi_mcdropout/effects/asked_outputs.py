"""The keyword arguments of a call that say what is read of a model's outputs and how it is scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kipoi_mcdropout.effects.scores import Score, parse_scores
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.outputs.readout import Readout


def asked_outputs(
    model: Model, scores: Any, words: Mapping[str, Any], where: str
) -> tuple[Model, tuple[Score, ...]]:
    """The model with the outputs that are asked for, and the scores.

    Parameters
    ----------
    model : Model
    scores
        See `parse_scores`.
    words : mapping
        `pseudocount`, and the words of a `Readout`.
    where : str
        Name of the call.

    Raises
    ------
    InputError
        If a word is not known or not as stated, or the model has a readout already.
    """
    others = dict(words)
    parsed = parse_scores(scores, pseudocount=others.pop("pseudocount", None))
    readout = Readout.of(others, where)
    return (model if readout is None else model.reading(readout)), parsed
