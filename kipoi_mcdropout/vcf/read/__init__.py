"""From a VCF file to records and alleles."""
