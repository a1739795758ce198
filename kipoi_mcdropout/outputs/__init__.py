"""Which numbers of a model's outputs are scored."""
