"""Reads the effects back from a VCF that `score_variants` has annotated."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.read.header import Header, unquoted
from kipoi_mcdropout.vcf.read.reader import VcfReader
from kipoi_mcdropout.vcf.read.record import Record

_STATISTICS = ("effect_mean", "effect_sd", "effect_point")
_RECORDS = 10_000  # of a piece
_INFO_COLUMN = 7
_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz")

Fields = dict[str, dict[str, str]]  # output: statistic: ID of the INFO field


def is_vcf(path: Path) -> bool:
    """By its name."""
    return path.name.endswith(_SUFFIXES)


def iter_vcf(path: Path, score: str) -> Iterator[pd.DataFrame]:
    """The alleles that were scored, a row for each and output, some ten thousand records at a time.

    Columns: chrom, pos (1-based), id, ref, alt, output, score, and effect_mean, effect_sd and
    effect_point, NaN where the VCF has no such field. The numbers have the seven digits of the VCF.

    Raises
    ------
    InputError
        If the VCF has no effects of the score.
    """
    with VcfReader(path) as reader:
        fields = _fields(reader.header, score)
        if not any({"effect_mean", "effect_point"} & set(of_output) for of_output in fields.values()):
            raise InputError(
                f"{path} has no INFO field with the effect_mean of score {score}. Give the table of "
                "`score_variants` (-t), or annotate with --vcf_statistics effect_mean effect_sd"
            )
        records = iter(reader)
        while held := list(itertools.islice(records, _RECORDS)):
            yield _rows(held, fields, score)


def _fields(header: Header, score: str) -> Fields:
    found: Fields = {}
    for name, words in header.declared("INFO").items():
        label, statistic = words.get("Output"), words.get("Statistic", "")
        if label is not None and words.get("Score") == score and statistic in _STATISTICS:
            found.setdefault(unquoted(label), {})[statistic] = name
    return found


def _rows(records: list[Record], fields: Fields, score: str) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for record in records:
        info = _info(record)
        for output, names in fields.items():
            values = {name: _numbers(info, names.get(name), len(record.alts)) for name in _STATISTICS}
            for i, alt in enumerate(record.alts):
                numbers = [values[name][i] for name in _STATISTICS]
                if not np.isnan(numbers[0]) or not np.isnan(numbers[2]):
                    place = (record.contig, record.pos, record.id, record.ref, alt, output, score)
                    rows.append((*place, *numbers))
    columns = ["chrom", "pos", "id", "ref", "alt", "output", "score", *_STATISTICS]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=columns)
    return frame


def _info(record: Record) -> dict[str, str]:
    text = record.text.split("\t", _INFO_COLUMN + 1)[_INFO_COLUMN]
    return dict(pair.partition("=")[::2] for pair in text.split(";"))


def _numbers(info: Mapping[str, str], name: str | None, n: int) -> list[float]:
    """The numbers of a field of INFO, one for each ALT; NaN where there is none."""
    words = info.get(name or "", "").split(",")
    if len(words) != n:
        return [np.nan] * n
    return [np.nan if word in (".", "") else float(word) for word in words]
