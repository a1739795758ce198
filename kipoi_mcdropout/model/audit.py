"""Lists every dropout of a model, and says whether it is locked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kipoi_mcdropout.dropout.named_parts import is_ignored
from kipoi_mcdropout.dropout.row_order import count
from kipoi_mcdropout.dropout.sites import Site, SitePlan
from kipoi_mcdropout.model.choose_inputs import Inputs, open_files
from kipoi_mcdropout.model.model import as_model


@dataclass(frozen=True)
class AuditRow:
    """One line of the audit: a dropout site, or a dropout that is idle or left off; all texts."""

    site: str  # number, or "-" for a dropout that is no site
    name: str
    kind: str
    p: str
    mask_shape: str
    locked: str  # "locked", or why not


@dataclass(frozen=True)
class Audit:
    """The dropout sites of a model; `print` shows them as a table, and so does a notebook.

    Attributes
    ----------
    rows : tuple of AuditRow
        A row for each site, then for each dropout that is idle or left off.
    plan : SitePlan
        The sites as they are run, what comes before the first of them, and notes. Of a model with
        several members, both are of the first that was given, or of another one where that has no
        dropout.
    members : str
        How many members the model has, and how their sites differ, in words; "" for one alone.
    """

    rows: tuple[AuditRow, ...]
    plan: SitePlan
    members: str = ""

    def table(self) -> pd.DataFrame:
        """The rows: site, name, kind, p, mask_shape, locked; all texts."""
        rows = [vars(row) for row in self.rows]
        table: pd.DataFrame = pd.DataFrame(rows, columns=list(AuditRow.__annotations__))
        return table

    def __str__(self) -> str:
        if self.members and not self.rows:
            return self.members
        header = AuditRow("site", "module", "kind", "p", "mask", "")
        cells = [tuple(vars(row).values()) for row in (header, *self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells
        ]
        before = ", ".join(self.plan.before_first_site) or "nothing"
        lines += ["", f"before the first site (the same in every draw): {before}"]
        lines += [f"note: {note}" for note in self.plan.notes]
        return "\n".join([*lines, *([self.members] if self.members else [])])

    __repr__ = __str__


def audit(model: Any, x: Inputs | None = None, ignore: Sequence[str] = ()) -> Audit:
    """List the dropout sites of a model: whether each is locked, and what it drops.

    A site is one dropout call in a forward pass. Locked means that all inputs of a draw, the reference
    and its mutants, get the same mask.

    Parameters
    ----------
    model : Model, nn.Module, or what `kipoi.get_model` returns
        Borrowed, never changed.
    x : nested numpy.ndarray, batch first; or Regions, or FastaSequences; optional
        At least one input. By default a random one of the shape that the model says
        (`Model.example`).
    ignore : sequence of str
        Modules whose dropout is left off, and that of the modules inside them. A `Model` has its own;
        none is given with it.

    Returns
    -------
    Audit

    Raises
    ------
    kipoi_mcdropout.errors.ModelError
        If the model cannot be run under locked dropout; the dropout at fault is named.
    InputError
        If no input is given and the model does not say the shape of one, or `ignore` is given for a
        `Model`.
    """
    ready = as_model(model, ignore=tuple(ignore))
    adapter = ready.adapter
    files = None if x is None else open_files(ready, x, batch_size=1)
    given = x if files is None else next(files.batches)["inputs"]
    inputs = adapter.arrays(ready.example() if given is None else given)
    ensemble = ready.ensemble
    plans = ensemble.site_plans(inputs)
    plan = plans[ensemble.members.index(ensemble.first)]
    if not plan.sites:
        with_sites = [i for i, found in enumerate(plans) if found.sites]
        plan = plans[min(with_sites, key=lambda i: ensemble.names[i])] if with_sites else plan
    rows = [_row(site) for site in plan.sites]
    rows += [AuditRow("-", name, "dropout", "-", "-", why) for name, why in plan.idle.items()]
    off = [site.name.split("#")[0] for site in plan.sites if site.ignored]
    rows += [
        AuditRow("-", name, "ignored", "-", "-", "off, as requested")
        for name in adapter.locked.ignore
        if not any(is_ignored(site, (name,)) for site in off)
    ]
    return Audit(tuple(rows), plan, _members(ensemble.names, plans, plan))


def _members(names: Sequence[str], plans: Sequence[SitePlan], shown: SitePlan) -> str:
    """What a user must know of the members: how many, which have no dropout, which have other sites."""
    if len(plans) == 1:
        return ""
    fixed = sorted(name for name, plan in zip(names, plans, strict=True) if not plan.sites)
    if len(fixed) == len(plans):
        return (
            f"members: {len(plans)}, and none has dropout: the members are the draws, each network one "
            "draw"
        )
    other = sorted(
        name
        for name, plan in zip(names, plans, strict=True)
        if plan.sites and _kinds(plan) != _kinds(shown)
    )
    said = []
    if fixed:
        said.append(f"without dropout: {', '.join(fixed)}")
    if other:
        said.append(f"with other dropout sites than these: {', '.join(other)}")
    same = "" if said else ", all with the same dropout sites"
    return "; ".join([f"members: {len(plans)}{same}", *said])


def _kinds(plan: SitePlan) -> list[tuple[str, str, float, tuple[int, ...]]]:
    return [(site.name, site.kind, site.p, site.shape) for site in plan.sites]


def _row(site: Site) -> AuditRow:
    """The line of a site; the shape of its mask as "4 x 24"."""
    shape = " x ".join(map(str, site.shape))
    how = "off, as requested" if site.ignored else f"locked{_made_in_words(site)}{_rows_in_words(site)}"
    p = "-" if site.is_noise else f"{site.p:g}"
    return AuditRow(str(site.index), site.name, site.kind, p, shape, how)


def _made_in_words(site: Site) -> str:
    """What the model's own code makes there; nothing of a dropout of torch."""
    if site.is_noise:
        return ", random numbers that the model's code makes"
    if site.is_mask:
        return f", a mask that the model's code makes: {site.p:.0%} zeros, else ones"
    return ""


def _rows_in_words(site: Site) -> str:
    """How many rows of the batch share a mask, and why; nothing where each input is one row."""
    if site.batch_axis is None:
        own = site.is_mask or site.is_noise
        return (
            ", one for all inputs"
            if own
            else ", one mask: it drops values that do not depend on the input"
        )
    parts, words = count(site.rows, "part"), []
    if parts > 1:
        words.append(f"each of {parts} parts of an input (positions or heads) has its own mask")
    if site.copies > 1:
        words.append(f"one mask for {site.copies} copies of the input (such as both strands)")
    return "".join(f", {word}" for word in words)
