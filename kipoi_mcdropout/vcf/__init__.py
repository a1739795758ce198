"""VCF in, VCF out: variant effects with uncertainty."""

from kipoi_mcdropout.vcf.call import score_variants
from kipoi_mcdropout.vcf.options import VariantOptions, VcfOptions
from kipoi_mcdropout.vcf.score import VariantRun
from kipoi_mcdropout.vcf.write.ledger import Ledger, SkippedAllelesError

__all__ = [
    "Ledger",
    "SkippedAllelesError",
    "VariantOptions",
    "VariantRun",
    "VcfOptions",
    "score_variants",
]
