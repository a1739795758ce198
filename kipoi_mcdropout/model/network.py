"""A network that was loaded from Python code or from a file, and not by Kipoi."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from kipoi_mcdropout.model.source import ModelSource


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

    @property
    def files(self) -> dict[str, str]:
        """Paths of the files that it was loaded from, for the record."""
        return self.source.files()

    @property
    def made_with(self) -> dict[str, str]:
        """What else the record says of it: the arguments of its class, as JSON."""
        return self.source.made_with()
