"""From alleles to windows of the genome."""
