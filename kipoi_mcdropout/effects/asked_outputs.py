"""What is read of a model's outputs, and how it is scored: what a user asks for, brought together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kipoi_mcdropout.effects.scores import Score, parse_scores
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.outputs.readout import Readout


def asked_outputs(
    model: Model, scores: Any, words: Mapping[str, Any], where: str, moves_bins: bool = False
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
    moves_bins : bool
        Bins are moved, for which `bin_bp` is needed.

    Raises
    ------
    InputError
        If a word is not known or not as stated, the model has a readout already, or profiles are to be
        compared and there is no readout.
    """
    others = dict(words)
    parsed = parse_scores(scores, pseudocount=others.pop("pseudocount", None))
    readout = Readout.of(others, where)
    if readout is not None:
        return model.reading(readout_for(readout, parsed, moves_bins)), parsed
    own = model.settings.readout
    for_scores = readout_for(own, parsed, moves_bins=True)
    return (model if for_scores is own else model.reading(for_scores, instead=True)), parsed


def readout_for(
    readout: Readout | None, scores: Sequence[Score], moves_bins: bool = False
) -> Readout | None:
    """The readout for these scores: those of profiles need the bins.

    `moves_bins` says that bins are moved, for which `bin_bp` is needed.

    Raises
    ------
    InputError
        If profiles are to be compared, and nothing is said of their bins; or if `bin_bp` is given and
        nothing is done with it.
    """
    if readout is not None and readout.bin_bp is not None and not (readout.uses_bin_bp or moves_bins):
        raise InputError(
            "bin_bp (--bin_bp) is used with a window in bp, such as center_bp, and where bins are "
            "moved: shifts (--shifts), indel_alignment (--indel_alignment)"
        )
    of_profiles = [score.name for score in scores if score.on_profiles]
    if not of_profiles:
        return readout
    if readout is None or not readout.reduce:
        raise InputError(
            f"score {of_profiles[0]!r} compares the bins of profiles: say which, and what stands for a "
            "profile in the columns of reference and mutant, with reduce (--reduce), such as sum@32"
        )
    return readout if readout.keeps_bins else readout.comparing()
