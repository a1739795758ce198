"""VCF in, VCF out: variant effects with uncertainty."""

from kipoi_mcdropout.vcf.score import VariantRun, score_variants
from kipoi_mcdropout.vcf.write.ledger import Ledger, SkippedAllelesError

__all__ = ["Ledger", "SkippedAllelesError", "VariantRun", "score_variants"]
