"""Variant effects with uncertainty: locked Monte Carlo dropout for Kipoi models.

Names are loaded when they are first used: importing the package imports neither torch nor Kipoi.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kipoi_mcdropout import mr
    from kipoi_mcdropout.cli import cli_main
    from kipoi_mcdropout.dropout.locked_model import POINT, locked_forward
    from kipoi_mcdropout.effects.scores import Score
    from kipoi_mcdropout.errors import McDropoutError
    from kipoi_mcdropout.files.effects import Effects, read
    from kipoi_mcdropout.files.predictions import Predictions
    from kipoi_mcdropout.model.audit import audit
    from kipoi_mcdropout.model.description import load_model
    from kipoi_mcdropout.model.fasta_sequences import FastaSequences
    from kipoi_mcdropout.model.load import load_kipoi_model
    from kipoi_mcdropout.model.model import Model
    from kipoi_mcdropout.model.regions import Regions
    from kipoi_mcdropout.outputs.readout import Readout
    from kipoi_mcdropout.plugin.mutation import MCDropoutISM
    from kipoi_mcdropout.reports.call import report
    from kipoi_mcdropout.runs.background.make import background
    from kipoi_mcdropout.runs.background.options import BackgroundOptions
    from kipoi_mcdropout.runs.ism.mutate import MutationOptions, ism
    from kipoi_mcdropout.runs.options import RunOptions
    from kipoi_mcdropout.runs.predict import mc_predict
    from kipoi_mcdropout.runs.shard import Shard
    from kipoi_mcdropout.significance.evaluation import EvaluationOptions, EvaluationResult, evaluate
    from kipoi_mcdropout.tracks.modisco import write_modisco
    from kipoi_mcdropout.tracks.write import write_tracks
    from kipoi_mcdropout.vcf.call import score_variants
    from kipoi_mcdropout.vcf.options import VariantOptions, VcfOptions

__version__ = "0.1.0"

__all__ = [
    "POINT",
    "BackgroundOptions",
    "Effects",
    "EvaluationOptions",
    "EvaluationResult",
    "FastaSequences",
    "MCDropoutISM",
    "McDropoutError",
    "Model",
    "MutationOptions",
    "Predictions",
    "Readout",
    "Regions",
    "RunOptions",
    "Score",
    "Shard",
    "VariantOptions",
    "VcfOptions",
    "audit",
    "background",
    "cli_main",
    "evaluate",
    "ism",
    "load_kipoi_model",
    "load_model",
    "locked_forward",
    "mc_predict",
    "mr",
    "read",
    "report",
    "score_variants",
    "write_modisco",
    "write_tracks",
]

# What Kipoi asks of a plugin: this package adds nothing to model.yaml or dataloader.yaml.
ModelParser = None
DataloaderParser = None

_HOMES = {
    "POINT": "dropout.locked_model",
    "BackgroundOptions": "runs.background.options",
    "Effects": "files.effects",
    "EvaluationOptions": "significance.evaluation",
    "EvaluationResult": "significance.evaluation",
    "FastaSequences": "model.fasta_sequences",
    "MCDropoutISM": "plugin.mutation",
    "McDropoutError": "errors",
    "Model": "model.model",
    "MutationOptions": "runs.ism.mutate",
    "Predictions": "files.predictions",
    "Readout": "outputs.readout",
    "Regions": "model.regions",
    "RunOptions": "runs.options",
    "Score": "effects.scores",
    "Shard": "runs.shard",
    "VariantOptions": "vcf.options",
    "VcfOptions": "vcf.options",
    "audit": "model.audit",
    "background": "runs.background.make",
    "cli_main": "cli",
    "evaluate": "significance.evaluation",
    "ism": "runs.ism.mutate",
    "load_kipoi_model": "model.load",
    "load_model": "model.description",
    "locked_forward": "dropout.locked_model",
    "mc_predict": "runs.predict",
    "read": "files.effects",
    "report": "reports.call",
    "score_variants": "vcf.call",
    "write_modisco": "tracks.modisco",
    "write_tracks": "tracks.write",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module (PEP 562)."""
    import importlib

    if name == "mr":
        return importlib.import_module(f"{__name__}.mr")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted([*globals(), *__all__])
