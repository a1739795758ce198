"""A Kipoi model by its name, for processes that load it themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from kipoi_mcdropout.errors import InputError, ModelError
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.model.identity import model_identity, torch_module
from kipoi_mcdropout.model.load import load_kipoi_model
from kipoi_mcdropout.model.versions import package_versions

_OF_THE_MODEL = ("weights_sha256", "code_sha256", "settings_sha256")
_SAME = ("kipoi-mcdropout", "torch")  # packages that must have one version everywhere


@dataclass(frozen=True)
class ModelReference:
    """The name of a Kipoi model, and the checksums and versions that it must have where it is loaded.

    Attributes
    ----------
    name, source : str
        As for `kipoi.get_model`; the name is a full path where the source is "dir".
    identity : dict of str to str
        Checksums of the weights, the code and the settings; see `identity.model_identity`.
    versions : dict of str to str
        Versions of the packages that must be the same in all processes, by name.
    """

    name: str
    source: str
    identity: dict[str, str]
    versions: dict[str, str]

    @classmethod
    def of(cls, model: Any) -> ModelReference:
        """The reference of a model.

        Parameters
        ----------
        model : what `kipoi.get_model` returned, or the KipoiModel made of it

        Raises
        ------
        InputError
            If it does not come from `kipoi.get_model`, so that other processes could not load it.
        """
        adapter = model if isinstance(model, KipoiModel) else None
        model = model if adapter is None else adapter.model
        name, source = getattr(model, "name", None), getattr(model, "source_name", None)
        if not name or not source or torch_module(model) is None:
            raise InputError(
                "other processes load the model by its Kipoi name, so it must come from "
                f"kipoi.get_model; got {type(model).__name__}"
            )
        where = os.path.abspath(name) if source == "dir" else name
        identity = model_identity(model) if adapter is None else adapter.identity()
        own = {key: value for key, value in identity.items() if key in _OF_THE_MODEL}
        return cls(where, source, own, _versions())

    def load(self) -> Any:
        """Load the model in this process.

        Returns
        -------
        What `kipoi.get_model` returns.

        Raises
        ------
        ModelError
            If the weights, the code or the settings of the model, or the versions of this package or of
            torch, are not those of the reference.
        """
        if (here := _versions()) != self.versions:
            raise ModelError(
                f"all processes must have the same versions; the run has {self.versions}, this one "
                f"{here}. Install the same ones there"
            )
        model = load_kipoi_model(self.name, self.source, with_dataloader=False)
        found = model_identity(model) if torch_module(model) is not None else {}
        other = [key for key, value in self.identity.items() if found.get(key) != value]
        if other:
            what = ", ".join(key.removesuffix("_sha256") for key in other)
            raise ModelError(
                f"the model {self.name!r} (source {self.source!r}) must be the one that the run began "
                f"with; its {what} differ here. Make the same files visible to all processes"
            )
        return model


def _versions() -> dict[str, str]:
    """Versions in this process of the packages that must be the same in all."""
    versions = package_versions()
    return {name: versions[name] for name in _SAME}
