"""VCF in, VCF out: variant effects with uncertainty."""
