"""Exact and fast: mutants are computed as changes of their reference (DESIGN section 8)."""
