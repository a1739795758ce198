"""The bridge to kipoi-veff 0.3.1, an optional package: `pip install --no-deps kipoi-veff==0.3.1`."""

from kipoi_mcdropout.veff.evaluation import McDropoutEffects
from kipoi_mcdropout.veff.postprocessing import attach_postprocessing
from kipoi_mcdropout.veff.repair import VeffError, repair
from kipoi_mcdropout.veff.score import VeffWarning, score_variants

__all__ = [
    "McDropoutEffects",
    "VeffError",
    "VeffWarning",
    "attach_postprocessing",
    "repair",
    "score_variants",
]
