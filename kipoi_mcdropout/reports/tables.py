"""Tables of the report: what a cell shows, and the value it is sorted by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pandas as pd

from kipoi_mcdropout.reports.numbers import (
    MISSING,
    fixed,
    is_number,
    p_value,
    percent,
)

CellKind = Literal["text", "prose", "number", "interval"]


class Interval(NamedTuple):
    """A point with its interval, and a line to compare it with; all on an axis from 0 to 1."""

    lower: float
    middle: float
    upper: float
    line: float


class Cell(NamedTuple):
    """What is shown, what it is sorted by (a number, or the text itself), and a drawing if any."""

    text: str
    value: float | None = None
    drawing: Interval | None = None


@dataclass(frozen=True)
class Column:
    """A heading, what kind of cells are below it, and a sentence that explains it."""

    label: str
    kind: CellKind
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows, with a caption."""

    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    row_attributes: list[dict[str, str]] = field(default_factory=list)  # data-..., for filters


def text_cells(values: Iterable[Any]) -> list[Cell]:
    """Cells of texts; a dash for what is missing or empty."""
    return [Cell(MISSING if v is None or pd.isna(v) or v == "" else str(v)) for v in values]


def number_cells(values: Iterable[Any], show: Callable[[Any], str]) -> list[Cell]:
    """Cells of numbers; those that are none sort last."""
    return [Cell(show(v), float(v) if is_number(v) else None) for v in values]


def fixed_cells(values: Iterable[Any], places: int | None) -> list[Cell]:
    """Numbers with the same decimals."""
    return number_cells(values, lambda v: fixed(v, places))


def count_cells(values: Iterable[Any]) -> list[Cell]:
    """Whole numbers, thousands apart."""
    return number_cells(values, lambda v: f"{int(v):,}" if is_number(v) else MISSING)


def interval_cells(
    lower: Sequence[float], middle: Sequence[float], upper: Sequence[float], around: float = 0.0
) -> list[Cell]:
    """Small drawings on one axis, which spans all of them and `around`, where a line is drawn."""
    known = [v for values in (lower, middle, upper) for v in values if is_number(v)] + [around]
    low, high = min(known), max(known)
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return (value - low) / span

    return [
        Cell("", None, Interval(place(a), place(b), place(c), place(around)))
        if is_number(a) and is_number(b) and is_number(c)
        else Cell("")
        for a, b, c in zip(lower, middle, upper, strict=True)
    ]


def build(caption: str, columns: Sequence[tuple[Column, list[Cell]]]) -> Table:
    """A table from columns and their cells."""
    rows = [list(row) for row in zip(*(cells for _, cells in columns), strict=True)]
    return Table(caption, [column for column, _ in columns], rows)


def text(label: str, values: Iterable[Any], hint: str = "") -> tuple[Column, list[Cell]]:
    """A column of texts."""
    return Column(label, "text", hint), text_cells(values)


def prose(label: str, values: Iterable[Any], hint: str = "") -> tuple[Column, list[Cell]]:
    """A column of sentences, which may take several lines."""
    return Column(label, "prose", hint), text_cells(values)


def counts(label: str, values: Iterable[Any], hint: str = "") -> tuple[Column, list[Cell]]:
    """A column of whole numbers."""
    return Column(label, "number", hint), count_cells(values)


def numbers(
    label: str, values: Iterable[Any], places: int | None, hint: str = ""
) -> tuple[Column, list[Cell]]:
    """A column of numbers with the same decimals."""
    return Column(label, "number", hint), fixed_cells(values, places)


def p_values(label: str, values: Iterable[Any], hint: str = "") -> tuple[Column, list[Cell]]:
    """A column of p-values."""
    return Column(label, "number", hint), number_cells(values, p_value)


def shares(label: str, values: Iterable[Any], hint: str = "") -> tuple[Column, list[Cell]]:
    """A column of shares, as per cent."""
    return Column(label, "number", hint), number_cells(values, percent)

