"""What locked dropout will do with a model: every site, and every dropout that is idle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.nested import Nested, map_nested, take
from kipoi_mcdropout.dropout.named_parts import is_ignored
from kipoi_mcdropout.dropout.row_order import count
from kipoi_mcdropout.dropout.sites import Site, SitePlan
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.adapter import KipoiModel


@dataclass(frozen=True)
class AuditRow:
    """One line of the audit."""

    site: str  # number, or "-" for a dropout that is no site
    name: str
    kind: str
    p: str
    mask_shape: str
    locked: str  # "locked", or why not


def audit(model: Any, inputs: Nested, ignore: tuple[str, ...] = ()) -> tuple[list[AuditRow], SitePlan]:
    """Find the dropout sites of a model.

    Parameters
    ----------
    model : kipoi model or nn.Module
    inputs : nested numpy.ndarray, batch first
        At least one input.
    ignore : tuple of str
        Modules whose dropout is left off, and that of the modules inside them.

    Raises
    ------
    kipoi_mcdropout.errors.ModelError
        If the model cannot be run under locked dropout; the dropout at fault is named.
    """
    adapter = KipoiModel(model, ignore=ignore)
    with adapter.locked.borrow():
        plan = adapter.locked.plan(adapter.tensors(take(adapter.arrays(inputs), slice(0, 1))))
    rows = []
    for site in plan.sites:
        shape = " x ".join(map(str, site.shape))
        how = "off, as requested" if site.ignored else f"locked{_rows_in_words(site)}"
        rows.append(AuditRow(str(site.index), site.name, site.kind, f"{site.p:g}", shape, how))
    rows += [AuditRow("-", name, "dropout", "-", "-", why) for name, why in plan.idle.items()]
    off = [site.name.split("#")[0] for site in plan.sites if site.ignored]
    rows += [
        AuditRow("-", name, "ignored", "-", "-", "off, as requested")
        for name in adapter.locked.ignore
        if not any(is_ignored(site, (name,)) for site in off)
    ]
    return rows, plan


def _rows_in_words(site: Site) -> str:
    """How many rows of the batch share a mask, and why; nothing where each input is one row."""
    if site.batch_axis is None:
        return ", one mask: it drops values that do not depend on the input"
    parts, words = count(site.rows, "part"), []
    if parts > 1:
        words.append(f"each of {parts} parts of an input (positions or heads) has its own mask")
    if site.copies > 1:
        words.append(f"one mask for {site.copies} copies of the input (such as both strands)")
    return "".join(f", {word}" for word in words)


def format_audit(rows: list[AuditRow], plan: SitePlan) -> str:
    """The audit as a table for a terminal, with what can be computed once for all draws."""
    header = AuditRow("site", "module", "kind", "p", "mask", "")
    cells = [tuple(vars(row).values()) for row in (header, *rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
    before = ", ".join(plan.before_first_site) or "nothing"
    lines += ["", f"before the first site (the same in every draw): {before}"]
    lines += [f"note: {note}" for note in plan.notes]
    return "\n".join(lines)


def example_inputs(model: Any) -> Nested:
    """One random input made from the shapes in a Kipoi model's schema: one-hot where an axis is 4 long.

    Raises
    ------
    InputError
        If the schema does not give the shapes.
    """
    schema = getattr(getattr(model, "schema", None), "inputs", None)
    if schema is None:
        raise InputError("the model has no schema of its inputs; give data with --dataloader_args")
    return map_nested(_random_input, schema)


def _random_input(array: Any) -> NDArray[np.float32]:
    shape = tuple(array.shape)
    if any(size is None for size in shape):
        raise InputError(
            f"the model's schema leaves the shape of input {array.name!r} open: {shape}; give data with "
            "--dataloader_args"
        )
    random = np.random.default_rng(0)
    bases = next((size for size in (4, 5) if len(shape) > 1 and size in shape), None)
    if bases is None:
        return random.random((1, *shape), dtype=np.float32)
    axis = max(i for i, size in enumerate(shape) if size == bases)
    others = [size for i, size in enumerate(shape) if i != axis]
    one_hot = np.eye(bases, dtype=np.float32)[random.integers(0, 4, (1, *others))]
    return np.ascontiguousarray(np.moveaxis(one_hot, -1, axis + 1))
