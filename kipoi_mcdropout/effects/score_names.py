"""What each score is, by its name: which have a sign, which are effects, which is looked at first."""

from __future__ import annotations

from collections.abc import Sequence

# In the order in which they are listed; `scores.SCORES` has them.
SCORE_NAMES = (
    "ref", "alt", "diff", "logit", "logit_ref", "logit_alt", "deepsea_effect", "log2fc",
    "l2", "l2_log", "sax", "jsd", "logsed",
)  # fmt: skip
PREFERRED_SCORES = ("diff", "logit", "log2fc")
# Summaries of predictions, which have no effect in them: they would head any list by |z|.
NO_EFFECT = frozenset({"ref", "alt", "logit_ref", "logit_alt"})
# Scores that have no direction, and why.
UNSIGNED_SCORES = {
    "deepsea_effect": "is a product of magnitudes and has no sign",
    "ref": "is the reference's own prediction, the same for every mutant",
    "alt": "is the mutant's own prediction, not a change",
    "logit_ref": "is the reference's own prediction, the same for every mutant",
    "logit_alt": "is the mutant's own prediction, not a change",
    "l2": "is the size of a change, and has no sign",
    "l2_log": "is the size of a change, and has no sign",
    "jsd": "is the distance of two profiles, and has no sign",
}

_UNDEFINED = {
    "log2fc": "a value and the pseudocount together are not above 0",
    "l2_log": "a bin is -1 or less",
    "jsd": "a bin of a profile is negative, or all are 0",
    "logsed": "the sum of the bins is -1 or less",
}


def undefined(score: str) -> str:
    """Why a score has no finite value where the outputs are finite."""
    probability = "a probability is 0 or 1" if "logit" in score else ""
    return _UNDEFINED.get(score) or probability or "the score is not defined for these outputs"


def preferred_score(known: Sequence[str]) -> str:
    """Of several scores the one to look at first: diff, logit, log2fc, else the first that is an effect.

    The first of all where none is; "" of none.
    """
    effects = [name for name in known if name not in NO_EFFECT] or list(known)
    return next((name for name in PREFERRED_SCORES if name in effects), effects[0] if effects else "")
