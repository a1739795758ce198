"""Exact and fast: mutants computed as changes of their reference (DESIGN section 8)."""

from __future__ import annotations

from kipoi_mcdropout.engine.choose import (
    ENGINES,
    Choice,
    Engines,
    Job,
    check_engine,
    choose_engine,
    make_engine,
)
from kipoi_mcdropout.engine.full import DEFAULT_MEMORY_BYTES
from kipoi_mcdropout.engine.incremental.capture_error import CaptureError
from kipoi_mcdropout.engine.incremental.describe import PlanReport, PlanRow, describe
from kipoi_mcdropout.engine.incremental.engine import IncrementalEngine
from kipoi_mcdropout.engine.incremental.rules import RuleError
from kipoi_mcdropout.engine.verify import EngineMismatchError, VerifyingEngine

__all__ = [
    "DEFAULT_MEMORY_BYTES",
    "ENGINES",
    "CaptureError",
    "Choice",
    "EngineMismatchError",
    "Engines",
    "IncrementalEngine",
    "Job",
    "PlanReport",
    "PlanRow",
    "RuleError",
    "VerifyingEngine",
    "check_engine",
    "choose_engine",
    "describe",
    "make_engine",
]
