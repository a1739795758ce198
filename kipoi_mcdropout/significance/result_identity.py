"""What a result's numbers depend on beside the variants, taken from its provenance.

A calibration by one result says something about another only if both have the same model and the same
way of making an effect.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kipoi_mcdropout.errors import InputError

_CHECKSUMS = ("weights_sha256", "code_sha256", "settings_sha256")
_OPTIONS = (
    "output_sel_fn", "readout", "until", "threshold", "pseudocount", "score_functions_sha256",
    "strand_pairs", "indel_alignment",
)  # fmt: skip


@dataclass(frozen=True)
class ResultIdentity:
    """The model of a result, and how its effects were made.

    Attributes
    ----------
    model : str
        Its name, for people.
    model_sha256 : str
        SHA-256 over the checksums of its weights, code and settings; of all members where there are
        several, in whatever order.
    n_draws : int
    options : dict
        Options that change effects and their sd: averages over strands and shifts, what is done
        with their bins and those behind an indel, dropouts that stay off, the type of numbers, what is
        made of the outputs, functions of the user's own, and what ends the draws of a mutant (--until).
    """

    model: str
    model_sha256: str
    n_draws: int
    options: dict[str, Any]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> ResultIdentity:
        """From the provenance of a result.

        Raises
        ------
        InputError
            If the provenance does not say which model it was.
        """
        members = record.get("members") or [record.get("model", {})]
        if not all(name in member for member in members for name in _CHECKSUMS):
            raise InputError(
                "the result does not say which model made it (model, weights_sha256, ... in its "
                "provenance). Give a result of `ism` or `score_variants`"
            )
        checksums = sorted([member[name] for name in _CHECKSUMS] for member in members)
        digest = hashlib.sha256(json.dumps(checksums).encode()).hexdigest()
        options = record.get("options", {})
        kept = {
            "rc": bool(options.get("rc", False)),
            "shifts": sorted(options.get("shifts", [0])),
            "ignore": sorted(options.get("ignore", [])),
            "dtype": options.get("dtype", "float32"),
            **{name: options.get(name) for name in _OPTIONS},
        }
        return cls(record["model"]["name"], digest, int(record["n_draws"]), kept)

    def of_score(self, score: str) -> dict[str, Any]:
        """The options that the effects of a score depend on."""
        functions = self.options["score_functions_sha256"] or {}
        own = {**self.options, "score_functions_sha256": functions.get(score)}
        return own if "log2" in score else {**own, "pseudocount": None}
