"""Writes the facts as one complete HTML file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.atomic import atomic_path, check_free, check_outputs
from kipoi_mcdropout.files.same_file import check_not_inputs
from kipoi_mcdropout.reports import effect_tables, evaluation, mr_tables, story
from kipoi_mcdropout.reports.browser.facts import MOST_REGIONS
from kipoi_mcdropout.reports.browser.page import VERSION, browser_data, igv_parts
from kipoi_mcdropout.reports.effects import RankBy
from kipoi_mcdropout.reports.facts import Facts, gather
from kipoi_mcdropout.reports.numbers import percent, significant

SUFFIXES = (".html", ".htm")
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z_]*")


def write_report(
    paths: Sequence[str | Path],
    output: str | Path,
    *,
    top: int = 200,
    rank_by: RankBy = "z",
    title: str | None = None,
    figures: bool = True,
    annotation: str | Path | None = None,
    n_regions: int = MOST_REGIONS,
    overwrite: bool = False,
) -> Facts:
    """Write a report of results as one HTML file.

    Parameters
    ----------
    paths : sequence of str or Path
        As in `facts.gather`.
    output : str or Path
        Name of the file, .html; the file gets its name only when it is complete.
    top : int
        Number of rows of the table of top effects.
    rank_by : "z" or "effect"
        Rank effects by |effect_mean| / effect_sd, or by |effect_mean|.
    title : str, optional
        The model's name by default.
    figures : bool
        Draw the plots.
    annotation : str or Path, optional
        Genes, named beside the effects and shown in the genome browser: GFF3, GTF or BED.
    n_regions : int
        Regions of the genome browser at most; 0 leaves it out.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Facts
        What the report says.

    Raises
    ------
    InputError
        If a file cannot be shown, the annotation cannot be used, or jinja2 or matplotlib is missing.
    OutputError
        If the output cannot be written.
    """
    check_free(check_outputs([output], SUFFIXES), overwrite)
    check_not_inputs([output], {f"input {i}": path for i, path in enumerate(paths, start=1)})
    _require_packages(figures)
    facts = gather(paths, top=top, rank_by=rank_by, annotation=annotation, n_regions=n_regions)
    html = render(facts, title=title, figures=figures)
    with atomic_path(output, overwrite) as temporary:
        # Half a character pair, as a broken name may have, is no text: it becomes "?".
        temporary.write_bytes(html.encode("utf-8", "replace"))
    return facts


def render(facts: Facts, *, title: str | None = None, figures: bool = True) -> str:
    """The HTML of the facts. Every text is escaped; scripts other than ours may not run."""
    style, script = _asset("report.css"), _asset("report.js")
    browser = None
    if facts.browser is not None and facts.browser.regions:
        script += _asset("browser.js")
        browser = {"version": VERSION, "data": browser_data(facts.browser), **igv_parts()}
    template = _environment().get_template("report.html.j2")
    pairs = [(pair.exposure, pair.outcome) for pair in facts.mr]
    page: str = template.render(
        facts=facts,
        title=title or story.title_of(facts.record, pairs),
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        story=story,
        tables=effect_tables,
        mr_tables=mr_tables,
        evaluation=evaluation,
        browser=browser,
        figures=_figures(facts) if figures else _no_figures(facts),
    )
    return page


def _figures(facts: Facts) -> dict[str, Any]:
    from kipoi_mcdropout.reports.figures import (
        by_group,
        effect_figures,
        evaluation_figures,
        mr_figures,
    )

    return {
        "effects": by_group(effect_figures(facts)),
        "mr": [mr_figures(facts, pair) for pair in facts.mr],
        "evaluations": [evaluation_figures(one) for one in facts.evaluations],
    }


def _no_figures(facts: Facts) -> dict[str, Any]:
    return {
        "effects": [], "mr": [[] for _ in facts.mr], "evaluations": [[] for _ in facts.evaluations]
    }


def _require_packages(figures: bool) -> None:
    names = ["jinja2", *(["matplotlib", "logomaker"] if figures else [])]
    for name in names:
        try:
            __import__(name)
        except ImportError as error:
            raise InputError(
                f"a report needs {' and '.join(names)}, and {name} is not installed: pip install {name}"
            ) from error


def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kipoi_mcdropout.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, significant=significant, flags=_flags)
    return environment


def _flags(text: str) -> Any:
    """Escaped text with flags of the command line set as code, so that they are not broken."""
    import markupsafe

    return markupsafe.Markup(_FLAG.sub(r"<code>\g<0></code>", str(markupsafe.escape(text))))


def _asset(name: str) -> str:
    """Text of a file of ours that goes into the page as it is."""
    return (resources.files("kipoi_mcdropout.reports") / "static" / name).read_text("utf-8")
