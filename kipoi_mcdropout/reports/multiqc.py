"""A summary of a run that MultiQC shows beside those of other programs.

MultiQC takes a file whose name ends in ``_mqc.json`` as it is ("custom content"). Files with the same
`id` become one section with a row for each sample, so that many runs stand in one table.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kipoi_mcdropout.effects.draws_enough import TOLERANCE
from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.files.atomic import check_free
from kipoi_mcdropout.files.group import OutputGroup
from kipoi_mcdropout.files.same_file import check_not_inputs
from kipoi_mcdropout.reports.facts import Facts, gather

ENDING = "_mqc.json"
_ID = "kipoi_mcdropout"
# Heading, explanation, and what MultiQC needs to show the number.
_COLUMNS: dict[str, dict[str, Any]] = {
    "scored": {
        "title": "Scored", "description": "Alleles, or substitutions, with an effect",
        "format": "{:,.0f}", "scale": "Blues",
    },
    "skipped": {
        "title": "Skipped", "description": "Alleles of the VCF without an effect, each for a reason",
        "format": "{:,.0f}", "scale": "OrRd",
    },
    "failed": {
        "title": "Failed", "description": "Sequences with which the model failed", "format": "{:,.0f}",
        "scale": "OrRd",
    },
    "outputs": {
        "title": "Outputs", "description": "Outputs of the model", "format": "{:,.0f}", "scale": False,
    },
    "draws": {
        "title": "Draws", "description": "Draws of the dropout masks; the fewest of a mutant",
        "format": "{:,.0f}", "scale": "Greens",
    },
    "sd_error": {
        "title": "Error of sd", "suffix": " %", "format": "{:,.1f}", "scale": "OrRd",
        "min": 0, "max": 50,
        "description": "Relative error of each sd with so many draws; at most "
        f"{100 * TOLERANCE:.0f} % is enough",
    },
    "unsettled": {
        "title": "Unsettled", "suffix": " %", "format": "{:,.1f}", "scale": "OrRd",
        "min": 0, "max": 100,
        "description": "Mean effects that are within 2 Monte Carlo errors of 0",
    },
    "not_finite": {
        "title": "Not finite", "format": "{:,.0f}", "scale": "OrRd",
        "description": "Effects without a finite number",
    },
    "dtype_error": {
        "title": "Error of dtype", "format": "{:.1e}", "scale": "OrRd",
        "description": "Where the model ran in another type than float32: largest difference between "
        "the two, in units of the largest output",
    },
    "engine": {"title": "Engine", "description": "full, or incremental", "scale": False},
    "warnings": {
        "title": "Warnings", "format": "{:,.0f}", "scale": "OrRd",
        "description": "Warnings of `kipoi mcdropout report`; read them there",
    },
}  # fmt: skip


def write_multiqc(
    paths: Sequence[str | Path],
    output: str | Path,
    *,
    sample: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write the summary of a run for MultiQC.

    Parameters
    ----------
    paths : sequence of str or Path
        The result of `ism`, or the table of `score_variants`; the table of skipped alleles may be beside
        it.
    output : str or Path
        Must end in ``_mqc.json``. For a VCF a bar for the ledger, alleles scored and skipped by reason,
        goes into a second file ``..._ledger_mqc.json``, as MultiQC takes one section of a file.
    sample : str, optional
        Name of the row; by default that of the result without its suffix.
    overwrite : bool
        Replace files that exist.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If there is no result of a run among the paths.
    OutputError
        If a file cannot be written.
    """
    path = Path(output)
    if not path.name.endswith(ENDING):
        raise OutputError(
            f"output must end in {ENDING}, by which MultiQC finds it; got {path}. Write, for example, "
            f"{path.name.split('.')[0]}{ENDING}"
        )
    ledger = path.with_name(path.name.removesuffix(ENDING) + "_ledger" + ENDING)
    check_not_inputs([path, ledger], {f"input {i}": name for i, name in enumerate(paths, start=1)})
    check_free([path], overwrite)
    facts = gather(paths, top=1)
    if facts.inputs.effects is None:
        raise InputError(
            "multiqc needs the result of `ism` or the table of `score_variants`; got "
            f"{', '.join(map(str, paths))}"
        )
    name = sample or facts.inputs.effects.path.name.split(".")[0]
    sections = {path: table_section(facts, name)}
    if facts.kind == "variants":
        check_free([ledger], overwrite)
        sections[ledger] = ledger_section(facts, name)
    with OutputGroup(list(sections), overwrite) as group:
        for place, section in sections.items():
            group.files[place].temporary.write_text(json.dumps(section, indent=2) + "\n")
        group.commit()
    return list(sections)


def table_section(facts: Facts, sample: str) -> dict[str, Any]:
    """A table with one row: the run in numbers."""
    row = _numbers(facts)
    return {
        "id": _ID,
        "section_name": "kipoi_mcdropout",
        "description": "Effects of mutations with their uncertainty, by locked Monte Carlo dropout.",
        "plot_type": "table",
        "pconfig": {"id": f"{_ID}_table", "title": "kipoi_mcdropout: runs"},
        "headers": {key: how for key, how in _COLUMNS.items() if key in row},
        "data": {sample: row},
    }


def ledger_section(facts: Facts, sample: str) -> dict[str, Any]:
    """A bar: the alleles of a VCF that were scored, and those that were skipped by reason."""
    assert facts.ledger is not None
    counts = facts.ledger.reasons
    reasons = dict(zip(counts["reason"].tolist(), counts["n"].tolist(), strict=True))
    return {
        "id": f"{_ID}_ledger",
        "section_name": "kipoi_mcdropout: alleles",
        "description": "Alleles of the VCF that were scored, and those that were skipped by reason.",
        "plot_type": "bargraph",
        "pconfig": {"id": f"{_ID}_ledger_plot", "title": "kipoi_mcdropout: alleles", "ylab": "Alleles"},
        "data": {sample: {"scored": facts.ledger.scored, **reasons}},
    }


def _numbers(facts: Facts) -> dict[str, Any]:
    """Those that are known of this run, in the order of the columns."""
    assert facts.effects is not None
    assert facts.record is not None
    ledger, draws, options = facts.ledger, facts.draws, facts.record["options"]
    unsettled = None if draws is None or not draws.n else draws.n_unsettled / draws.n
    found: dict[str, Any] = {
        "scored": facts.effects.n_mutants,
        "skipped": None if ledger is None or facts.kind == "ism" else ledger.skipped,
        "failed": None if ledger is None or facts.kind == "variants" else len(ledger.failed),
        "outputs": facts.effects.outputs["output"].nunique(),
        "draws": 0 if draws is None else draws.n_draws,
        "sd_error": None if draws is None else round(100 * draws.sd_error, 2),
        "unsettled": None if unsettled is None else round(100 * unsettled, 2),
        "not_finite": facts.effects.n_nan,
        "dtype_error": facts.record.get("dtype_check", {}).get("output_error"),
        "engine": options.get("engine_used"),
        "warnings": len(facts.cautions),
    }
    return {key: value for key, value in found.items() if value is not None}
