"""The rows of a result in pieces, from wherever the result is: a file, memory, or an annotated VCF."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kipoi_mcdropout.effects.score_names import NO_EFFECT, UNSIGNED_SCORES, preferred_score
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.effects import Effects
from kipoi_mcdropout.files.open_hdf5 import check_score, existing, is_hdf5, open_hdf5
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.files.read_stream import iter_effects, with_texts
from kipoi_mcdropout.outputs.targets import select_targets
from kipoi_mcdropout.tracks.annotated_vcf import is_vcf, iter_vcf
from kipoi_mcdropout.vcf.write.output_paths import vcf_provenance

Outputs = str | int | Sequence[str | int] | None
Labels = tuple[str, ...]

MANY_OUTPUTS = 20  # more are written only where they are named


@dataclass(frozen=True)
class Result:
    """An opened result.

    Attributes
    ----------
    name : str
        What messages call it.
    record : dict
        Its provenance.
    known_outputs : tuple of str, or None
        Labels of all outputs, where they are known before the rows are read.
    path : Path or None
        The file, where it is in one.
    read : function
        From labels (None: all outputs) and a score to the rows in pieces, texts as str.
    """

    name: str
    record: dict[str, Any]
    known_outputs: Labels | None
    read: Callable[[Labels | None, str], Iterator[pd.DataFrame]]
    path: Path | None = None

    @property
    def is_variants(self) -> bool:
        """Whether the mutants are the alleles of a VCF."""
        return "info_prefix" in self.record["options"]

    @property
    def has_draws(self) -> bool:
        """Whether there are draws; else there is the effect with dropout off alone."""
        return int(self.record["n_draws"]) > 0

    @property
    def effect(self) -> str:
        """The column with the effect."""
        return "effect_mean" if self.has_draws else "effect_point"

    def score(self, asked: str | None) -> str:
        """The score that is asked for, else the one to look at first.

        Raises
        ------
        InputError
            If the result lacks it, or it is no effect.
        """
        known = list(self.record["options"]["scores"])
        score = preferred_score(known) if asked is None else asked
        check_score(score, known, self.name)
        if score in NO_EFFECT:
            raise InputError(
                f"score {score} {UNSIGNED_SCORES[score]}. Give a score that is an effect, such as diff "
                f"or logit; {self.name} has {', '.join(known)}"
            )
        return score


def open_result(effects: Effects | str | Path) -> Result:
    """A result of `ism` or `score_variants`.

    Raises
    ------
    InputError
        If it is none, or has no effects.
    """
    if isinstance(effects, Effects) and effects.path is None:
        return _in_memory(effects)
    path = existing(effects.path if isinstance(effects, Effects) else effects)  # type: ignore[arg-type]
    record = vcf_provenance(path) if is_vcf(path) else read_provenance(path)
    _check(record, str(path))
    if is_vcf(path):
        return Result(str(path), record, None, lambda _labels, score: iter_vcf(path, score), path)
    known = None
    if is_hdf5(path):
        with open_hdf5(path) as file:
            known = tuple(file["output"].asstr()[:])
    return Result(str(path), record, known, lambda labels, _score: iter_effects(path, labels), path)


def _in_memory(effects: Effects) -> Result:
    record = effects.provenance
    _check(record, "the result")

    def read(labels: Labels | None, score: str) -> Iterator[pd.DataFrame]:
        yield with_texts(effects.table(labels, score))

    return Result("the result", record, None, read)


def _check(record: dict[str, Any], name: str) -> None:
    if not record.get("options", {}).get("scores"):
        raise InputError(
            f"{name} has no effects. Give the result of `ism`, or the table or VCF of `score_variants`"
        )


def chosen_labels(known: Sequence[str], wanted: Outputs, name: str) -> Labels:
    """The outputs that are asked for, of those known.

    Raises
    ------
    TargetError
        If there is no such output.
    InputError
        If none is asked for, and there are many: each makes several files.
    """
    if wanted is None and len(known) > MANY_OUTPUTS:
        raise InputError(
            f"{name} has {len(known):,} outputs, and each makes several files. Name those that you want "
            "(--target, or outputs=), by label, index or pattern; '*' is all of them"
        )
    return tuple(select_targets(list(known), wanted).labels)
