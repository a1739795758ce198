"""From effects to the annotated VCF, its table and its ledger."""
