"""Scores of reference and mutant within one draw: those of kipoi-interpret, and the log2 fold change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.effects.log2_fold_change import Log2FoldChange
from kipoi_mcdropout.errors import InputError

PairFunction = Callable[[Tensor, Tensor], Tensor]  # (ref, alt), broadcastable, float64


@dataclass(frozen=True)
class Score:
    """How the effect of a mutant is measured in one draw.

    `logit_scale` says that reference and mutant are summarised as logits, log(p / (1 - p)), too.
    """

    name: str
    function: PairFunction  # of outputs, or of logits where logit_scale
    logit_scale: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """By name, as the functions of the named ones cannot be pickled."""
        if SCORES.get(self.name) is self:
            return get_score, (self.name,)
        return Score, (self.name, self.function, self.logit_scale)


def logit(p: Tensor) -> Tensor:
    """log(p / (1 - p)) in float64; infinite where p is 0 or 1, NaN where it is no probability."""
    logits: Tensor = torch.special.logit(p.to(torch.float64))
    return logits


def _deepsea_effect(ref: Tensor, alt: Tensor) -> Tensor:
    return (logit(alt) - logit(ref)).abs() * (alt - ref).abs()


SCORES = {
    score.name: score
    for score in (
        Score("ref", lambda ref, alt: ref.expand_as(alt)),
        Score("alt", lambda _ref, alt: alt),
        Score("diff", lambda ref, alt: alt - ref),
        Score("logit", lambda ref, alt: alt - ref, logit_scale=True),
        Score("logit_ref", lambda ref, alt: ref.expand_as(alt), logit_scale=True),
        Score("logit_alt", lambda _ref, alt: alt, logit_scale=True),
        Score("deepsea_effect", _deepsea_effect),
        Score("log2fc", Log2FoldChange()),
    )
}


def get_score(score: str | Score | Callable[..., object], **options: object) -> Score:
    """A score by its name in kipoi-interpret, or a callable on numpy arrays (ref, alt) as it has them.

    Parameters
    ----------
    score : str, Score, or callable
    options
        `pseudocount` of log2fc (`Log2FoldChange`). `rc_merging` is accepted for kipoi-interpret's sake;
        strands are averaged inside a draw, so only "mean" can be asked for.

    Raises
    ------
    InputError
        If there is no such score.
    """
    if score == "log2fc" and "pseudocount" in options:
        function = Log2FoldChange(options.pop("pseudocount"))  # type: ignore[arg-type]
        get_score(score, **options)
        return Score("log2fc", function)
    unknown = set(options) - {"rc_merging"}
    if unknown or options.get("rc_merging", "mean") != "mean":
        raise InputError(f"the only option of score {score!r} is rc_merging='mean'; got {options}")
    if isinstance(score, Score):
        return score
    if isinstance(score, str):
        if score not in SCORES:
            raise InputError(f"score must be one of {', '.join(SCORES)}; got {score!r}")
        return SCORES[score]
    if callable(score):
        return Score(getattr(score, "__name__", type(score).__name__), _on_numpy(score))
    raise InputError(f"score must be a name or a callable (ref, alt); got {score!r}")


def parse_scores(
    scores: str | Score | Callable[..., object] | Sequence[str | Score | Callable[..., object]],
    score_kwargs: Sequence[dict[str, Any]] | None = None,
    pseudocount: float | None = None,
) -> tuple[Score, ...]:
    """Scores as kipoi-interpret takes them: one or several, maybe with options for each.

    `pseudocount` is that of log2fc.

    Raises
    ------
    InputError
        If there is no such score, or there are more or fewer options than scores; or if there is a
        pseudocount and no log2fc.
    """
    if isinstance(scores, (str, Score)) or callable(scores):
        scores = [scores]
    if score_kwargs is not None and len(score_kwargs) != len(scores):
        raise InputError(
            f"score_kwargs must have one dict per score ({len(scores)}); got {len(score_kwargs)}"
        )
    kwargs = [dict(options or {}) for options in score_kwargs or [{}] * len(scores)]
    if pseudocount is not None:
        if "log2fc" not in scores:
            raise InputError(
                "pseudocount (--pseudocount) is that of the score log2fc, which is not asked for"
            )
        kwargs[list(scores).index("log2fc")].setdefault("pseudocount", pseudocount)
    return tuple(get_score(score, **options) for score, options in zip(scores, kwargs, strict=True))


def scores_as_dict(scores: Sequence[Score]) -> dict[str, Any]:
    """The scores for the record of a run, as plain values."""
    found: dict[str, Any] = {"scores": [score.name for score in scores]}
    for score in scores:
        if isinstance(score.function, Log2FoldChange):
            found["pseudocount"] = float(score.function.pseudocount)
    return found


def _on_numpy(function: Callable[..., object]) -> PairFunction:
    def apply(ref: Tensor, alt: Tensor) -> Tensor:
        result = function(ref.expand_as(alt).cpu().numpy(), alt.cpu().numpy())
        return torch.as_tensor(np.asarray(result, dtype=np.float64), device=alt.device)

    return apply


def is_probability(outputs: Tensor) -> bool:
    """Whether all finite values lie in [0, 1]."""
    finite = outputs[torch.isfinite(outputs)]
    return finite.numel() == 0 or (finite.min().item() >= 0 and finite.max().item() <= 1)
