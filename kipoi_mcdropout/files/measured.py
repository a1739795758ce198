"""Reads a table of measured effects, which is often written by hand or by a spreadsheet program."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.read_tables import open_text, reading

NUMBERS = ("effect", "se")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_BOUND = re.compile(r"[<>≤≥]=?\s*[+-]?[\d.]+")
_SHOWN = 3


class _Row(NamedTuple):
    line: int
    fields: list[str]


def read_measured(
    path: str | Path, texts: Sequence[str] = (), needs_effect: bool = True
) -> pd.DataFrame:
    """Columns `variant` (str), `effect`, and `se` where the file has it (float64).

    The file has columns separated by tabs. Lines before the header that begin with ``#`` are comments;
    the header itself may begin with ``#``. Other columns are passed over.

    Parameters
    ----------
    path : str or Path
    texts : sequence of str
        Further columns to read, as str; a field that is empty becomes None.
    needs_effect : bool
        Whether the column `effect` is required; without it, it is read where the file has it.

    Raises
    ------
    InputError
        A column is missing, or a field is no number: it is named with its line. A decimal comma, a
        bound such as ``<0.01`` and a word such as ``n.d.`` are not guessed at.
    """
    path = Path(path)
    names, rows = _read(path)
    needed = ["variant", *(["effect"] if needs_effect else []), *texts]
    missing = [name for name in needed if name not in names]
    if missing:
        raise InputError(
            f"{path} must have the columns {', '.join(needed[:-1])} and {needed[-1]}, and may have se, "
            f"separated by tabs; it lacks {', '.join(missing)} and has {', '.join(names) or 'nothing'}"
        )
    table: dict[str, Sequence[Any]] = {"variant": _column(rows, names.index("variant"))}
    for name in texts:
        table[name] = [text or None for text in _column(rows, names.index(name))]
    for name in NUMBERS:
        if name in names:
            table[name] = _numbers(path, rows, names.index(name), name)
    measured: pd.DataFrame = pd.DataFrame(table)
    return measured


def _read(path: Path) -> tuple[list[str], list[_Row]]:
    names: list[str] | None = None
    rows = []
    with reading(path), open_text(path) as text:
        reader = csv.reader(text, delimiter="\t")
        for fields in reader:
            if not any(fields):
                continue
            if names is None:
                first = [fields[0].removeprefix("#").strip(), *fields[1:]]
                if not fields[0].startswith("#") or "variant" in first:
                    names = [field.strip() for field in first]
                continue
            if len(fields) != len(names):
                raise InputError(
                    f"{path} line {reader.line_num} has {len(fields)} fields; the header has "
                    f"{len(names)}. Are they separated by tabs, and is the line whole?"
                )
            rows.append(_Row(reader.line_num, fields))
    return names or [], rows


def _column(rows: list[_Row], index: int) -> list[str]:
    return [row.fields[index].strip() for row in rows]


def _numbers(path: Path, rows: list[_Row], index: int, name: str) -> list[float]:
    values, bad = [], []
    for row in rows:
        text = row.fields[index].strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or "_" in text:  # Python takes 1_000 for a number
            bad.append(f"line {row.line}: {text!r} {_why(text)}")
        values.append(value)
    if bad:
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise InputError(
            f"{path}: {len(bad)} values of the column {name} are not numbers. "
            f"{'; '.join(bad[:_SHOWN])}{more}"
        )
    return values


def _why(text: str) -> str:
    if not text:
        return "is missing: remove the line"
    if _DECIMAL_COMMA.fullmatch(text):
        return f"has a decimal comma: write {text.replace(',', '.')}"
    if _BOUND.fullmatch(text):
        return "is a limit and not a measurement: remove the line"
    return "is not a number: remove the line, or write a number"
