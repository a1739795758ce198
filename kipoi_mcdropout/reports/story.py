"""What was run, in sentences."""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Sequence
from typing import Any

from kipoi_mcdropout.effects.member_names import mean_columns, names_of, short_names
from kipoi_mcdropout.files.provenance import has_own_draws
from kipoi_mcdropout.reports.inputs import EffectKind

_MOST_NAMES = 10
_SCOPES = {
    "run": "all sequences of a draw share their masks",
    "sequence": "each sequence has masks of its own, shared by its reference and mutants",
}


def story(record: dict[str, Any], kind: EffectKind) -> list[str]:
    """Sentences on who ran what on which input, with which draws."""
    return [_what(record, kind), _draws(record), _placement(record, kind), _engine(record)]


def _what(record: dict[str, Any], kind: EffectKind) -> str:
    model, versions = record["model"], record["versions"]
    done = (
        "Every single substitution was made in the sequences"
        if kind == "ism"
        else "Every ALT allele of the VCF was placed in the genome's sequence"
    )
    window = _window(record["options"]) if kind == "ism" else ""
    return (
        f"{done}{window} and the model {model['name']} (source {model['source']}) was run on reference "
        f"and mutant, by kipoi_mcdropout {_version(versions, 'kipoi-mcdropout')} with PyTorch "
        f"{_version(versions, 'torch')}, {when(record)}."
    )


def _version(versions: dict[str, str], package: str) -> str:
    version = versions.get(package, "not installed")
    return "from a checkout" if version == "not installed" else version


def _window(options: dict[str, Any]) -> str:
    start, end = options.get("start") or 0, options.get("end")
    if not start and end is None:
        return ""
    return f" from position {start}" + ("" if end is None else f" up to, not including, {end}")


def _draws(record: dict[str, Any]) -> str:
    n, sites = record["n_draws"], len(record.get("sites", []))
    if n == 0:
        return "Dropout was off: the effects have no uncertainty."
    members = record.get("members", ())
    if members and sites == 0:
        return (
            f"The model has no dropout; its {len(members)} members (trained networks: "
            f"{_names(record)}) are the draws. "
            "Within a draw reference and mutant go through the same network; effects are taken within "
            "each draw and summarised over the draws."
        )
    most = "at most " if has_own_draws(record) else ""
    scope = _SCOPES.get(record["options"].get("mask_scope", "run"), "")
    return (
        f"Dropout stayed on at {_plural(sites, 'site')}: {most}{_plural(n, 'draw')} of masks with seed "
        f"{record['seed']}. Within a draw reference and mutant go through the same thinned network"
        f"{f', and {scope}' if scope else ''}; effects are taken within each draw and summarised over "
        f"the draws.{_of_members(record)}"
    )


def _of_members(record: dict[str, Any]) -> str:
    n = len(record.get("members", ()))
    if n == 0:
        return ""
    return (
        f" The model has {n} members (trained networks: {_names(record)}), with "
        f"{_plural(record['n_draws'] // n, 'draw')} of each; a draw is one member and its masks."
    )


def _names(record: dict[str, Any]) -> str:
    """The files of the members, in the order in which they were given."""
    names = names_of(record)
    short = [short_names(names)[i] for i in mean_columns(names).values()]
    return ", ".join(short[:_MOST_NAMES]) + (", ..." if len(short) > _MOST_NAMES else "")


def _placement(record: dict[str, Any], kind: EffectKind) -> str:
    options = record["options"]
    targets = options.get("target") or options.get("targets")
    said = f"Scores: {', '.join(options['scores'])}."
    if targets:
        shown = ", ".join(map(str, targets[:8])) + (", ..." if len(targets) > 8 else "")
        said += f" Outputs: {shown}."
    if kind == "variants":
        said += f" Windows of {options['length']} bases"
        shifts = options.get("shifts") or [0]
        extra = ["both strands averaged"] if options.get("rc") else []
        extra += [f"shifts of {', '.join(map(str, shifts))} bp averaged"] if shifts != [0] else []
        stitched = options.get("indel_alignment") == "stitch"
        extra += ["bins behind insertions and deletions put back"] if stitched else []
        extra += ["alleles trimmed and left-aligned first"] if options.get("normalize") else []
        said += (": " + "; ".join(extra) if extra else "") + "."
        if options.get("region"):
            said += f" Only records in {options['region']}."
    return said


def _engine(record: dict[str, Any]) -> str:
    options = record["options"]
    engine = options.get("engine_used", options.get("engine"))
    words = {
        "incremental": "Mutants were computed as changes of their reference (engine incremental).",
        "full": "Every mutant was run on its whole window (engine full).",
    }
    said = words.get(engine, "") if isinstance(engine, str) else ""
    if said and options.get("engine") == "auto":
        said += f" It was chosen by --engine auto: {record['engine_reason']}."
    return said


def when(record: dict[str, Any]) -> str:
    """The date of the run, in UTC."""
    try:
        date = datetime.datetime.fromisoformat(record["date"])
    except (KeyError, ValueError):
        return "on an unknown date"
    if date.tzinfo is not None:
        date = date.astimezone(datetime.timezone.utc)
    return f"on {date.day} {date:%B %Y} at {date:%H:%M} UTC"


def command_line(record: dict[str, Any]) -> str | None:
    """The command as one types it, None where it was run in Python."""
    command = record.get("command")
    return None if not command else shlex.join(map(str, command))


def input_files(record: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What, path and SHA-256 of each input, the model's weights first."""
    rows = [("weights", record["model"]["name"], record["model"]["weights_sha256"])]
    return rows + [(name, f["path"], f["sha256"]) for name, f in record.get("files", {}).items()]


def full_record(record: dict[str, Any]) -> str:
    """The record as indented JSON."""
    return json.dumps(record, indent=2, ensure_ascii=False)


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def title_of(record: dict[str, Any] | None, pairs: Sequence[tuple[str, str]]) -> str:
    """A title for the report."""
    if record is not None:
        return f"Variant effects of {record['model']['name']}"
    if not pairs:
        return "Predicted and measured effects"
    names = ", ".join(f"{exposure} \u2192 {outcome}" for exposure, outcome in pairs[:3])
    return f"Mendelian randomization: {names}"
