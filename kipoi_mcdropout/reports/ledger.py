"""Counts of scored and skipped alleles of a VCF, or of positions of an ISM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.read_stream import positions_without_base
from kipoi_mcdropout.reports.effects import EffectFacts
from kipoi_mcdropout.reports.inputs import Inputs
from kipoi_mcdropout.vcf.read.alleles import REASONS

_EXAMPLES = 3


@dataclass(frozen=True)
class LedgerFacts:
    """Alleles in = scored + skipped.

    Attributes
    ----------
    scored : int
    skipped : int or None
        None where the result does not say and no table of skipped alleles was given.
    records : int or None
    reasons : DataFrame
        `reason`, `n`, `words` and `examples`, most frequent first.
    kinds, flags : dict of str to int
        Of the scored alleles.
    without_base : int or None
        Positions of an ISM that have no mutant, since the reference is N there.
    failed : DataFrame
        Sequences of an ISM with which the model failed: `sequence`, `name`, `reason`.
    """

    kind: str
    scored: int
    skipped: int | None
    records: int | None
    reasons: pd.DataFrame
    kinds: dict[str, int]
    flags: dict[str, int]
    without_base: int | None = None
    failed: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def alleles(self) -> int | None:
        """Alleles in."""
        return None if self.skipped is None else self.scored + self.skipped


def gather_ledger(inputs: Inputs, facts: EffectFacts) -> LedgerFacts:
    """The ledger of the run that wrote the effects.

    It is taken from the record of the run where that has a `ledger`; else the scored alleles are
    counted in the table and the skipped ones in the table of `--skipped`, if that was given.

    Raises
    ------
    InputError
        If the record's ledger is not that of the table.
    """
    assert inputs.effects is not None
    if inputs.effects.kind == "ism":
        without = positions_without_base(inputs.effects.path)
        none = _reasons({}, pd.DataFrame())
        failed = inputs.rows("failed")
        return LedgerFacts("ism", facts.n_mutants, 0, None, none, {}, {}, without, failed)
    listed = inputs.rows("skipped")
    ledger: Mapping[str, Any] | None = inputs.effects.record.get("ledger")
    kinds, flags = dict(facts.kinds.most_common()), dict(facts.flags.most_common())
    if ledger is None:
        has_list = bool(inputs.tables.get("skipped"))
        counts = dict(listed["reason"].value_counts()) if len(listed) else {}
        n_skipped = len(listed) if has_list else None
        reasons = _reasons(counts, listed)
        return LedgerFacts("variants", facts.n_mutants, n_skipped, None, reasons, kinds, flags)
    skipped = sum(ledger["skipped"].values())
    wrong = [
        f"{skipped} skipped, but the list of skipped alleles has {len(listed)}"
        if inputs.tables.get("skipped") and len(listed) != skipped
        else "",
        f"{ledger['scored']} scored, but the table has {facts.n_mutants} alleles"
        if ledger.get("haplotypes", ledger["scored"]) != facts.n_mutants
        else "",
    ]
    if any(wrong):
        raise InputError(
            f"the ledger in {inputs.effects.path} has {'; '.join(filter(None, wrong))}. Give files of "
            "one run, as they were written"
        )
    reasons = _reasons(ledger["skipped"], listed)
    return LedgerFacts(
        "variants", facts.n_mutants, skipped, int(ledger["records"]), reasons, kinds, flags
    )


def _reasons(counts: Mapping[str, int], listed: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "reason": reason,
            "n": int(n),
            "words": REASONS.get(reason, "see the page Messages and codes"),
            "examples": _examples(listed, reason),
        }
        for reason, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    table: pd.DataFrame = pd.DataFrame(rows, columns=["reason", "n", "words", "examples"])
    return table


def _examples(listed: pd.DataFrame, reason: str) -> str:
    if not len(listed):
        return ""
    some = listed[listed["reason"] == reason]
    names = some["chrom"].astype(str) + ":" + some["pos"].astype(str)
    more = ", ..." if len(some) > _EXAMPLES else ""
    return ", ".join(names.head(_EXAMPLES)) + more
