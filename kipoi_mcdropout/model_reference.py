"""A Kipoi model by its name, for processes that load it themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from kipoi_mcdropout.errors import InputError, ModelError
from kipoi_mcdropout.kipoi_model import torch_module, weights_checksum
from kipoi_mcdropout.provenance import package_versions

_SAME = ("kipoi-mcdropout", "torch")  # packages that must have one version everywhere


@dataclass(frozen=True)
class ModelReference:
    """Where a model comes from, and what must be found there.

    Attributes
    ----------
    name, source : str
        As for `kipoi.get_model`; the name is a full path where the source is "dir".
    weights_sha256 : str
        See `kipoi_model.weights_checksum`.
    versions : dict of str to str
        Of the packages that must be the same.
    """

    name: str
    source: str
    weights_sha256: str
    versions: dict[str, str]

    @classmethod
    def of(cls, model: Any) -> ModelReference:
        """The reference of what `kipoi.get_model` returned.

        Raises
        ------
        InputError
            If it has no name in a source of Kipoi.
        """
        name, source = getattr(model, "name", None), getattr(model, "source_name", None)
        module = torch_module(model)
        if not name or not source or module is None:
            raise InputError(
                "other processes load the model by its name, so it must come from kipoi.get_model; got "
                f"{type(model).__name__}"
            )
        where = os.path.abspath(name) if source == "dir" else name
        return cls(where, source, weights_checksum(module), _versions())

    def load(self) -> Any:
        """The model, loaded here.

        Raises
        ------
        ModelError
            If the weights, or the versions of this package or of torch, are not those of the reference.
        """
        import kipoi

        if (here := _versions()) != self.versions:
            raise ModelError(
                f"all processes must have the same versions; the run has {self.versions}, this one "
                f"{here}. Install the same ones there"
            )
        model = kipoi.get_model(self.name, self.source, with_dataloader=False)
        module = torch_module(model)
        found = None if module is None else weights_checksum(module)
        if found != self.weights_sha256:
            raise ModelError(
                f"the weights of {self.name!r} (source {self.source!r}) differ from those that the run "
                f"began with: sha256 {found}, not {self.weights_sha256}. Make the same files visible to "
                "all processes"
            )
        return model


def _versions() -> dict[str, str]:
    versions = package_versions()
    return {name: versions[name] for name in _SAME}
