"""A network that was loaded from Python code or from a file, and not by Kipoi."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from kipoi_mcdropout.model.source import ModelSource


SOURCE = "mcdropout_source"  # attribute of a Kipoi model whose weights are not its own


def source_of(model: Any) -> ModelSource | None:
    """Where a network, or a Kipoi model with other weights, was loaded from; None for all others."""
    if isinstance(model, LoadedNetwork):
        return model.source
    found: ModelSource | None = getattr(model, SOURCE, None)
    return found


class LoadedNetwork:
    """What stands in for a Kipoi model: the network, and where it comes from.

    Attributes
    ----------
    model : nn.Module
    source : ModelSource
    name : str
        As it was given, such as net.py:Net.
    source_name : str
        "file", "module", "pickle" or "keras".
    """

    schema = None
    default_dataloader = None

    def __init__(self, network: nn.Module, source: ModelSource, source_name: str) -> None:
        self.model = network
        self.source = source
        self.name = source.model
        self.source_name = source_name
