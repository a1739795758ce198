"""Exact and fast: mutants computed as changes of their reference (DESIGN section 8)."""

from __future__ import annotations

from kipoi_mcdropout.incremental.engine import IncrementalEngine

__all__ = ["IncrementalEngine"]
