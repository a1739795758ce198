"""VCF in, VCF out: variant effects with uncertainty."""

from kipoi_mcdropout.vcf.ledger import Ledger, SkippedAllelesError
from kipoi_mcdropout.vcf.score import VariantRun, score_variants

__all__ = ["Ledger", "SkippedAllelesError", "VariantRun", "score_variants"]
