"""Where a model comes from, for processes that load it themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kipoi_mcdropout.errors import InputError, ModelError
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.model.identity import model_identity, torch_module
from kipoi_mcdropout.model.network import source_of
from kipoi_mcdropout.model.source import ModelSource
from kipoi_mcdropout.model.versions import package_versions

_OF_THE_MODEL = ("weights_sha256", "code_sha256", "settings_sha256")
_SAME = ("kipoi-mcdropout", "torch")  # packages that must have one version everywhere


@dataclass(frozen=True)
class ModelReference:
    """The name of a Kipoi model, and the checksums and versions that it must have where it is loaded.

    Attributes
    ----------
    source : ModelSource
        With full paths.
    identity : dict of str to str
        Checksums of the weights, the code and the settings; see `identity.model_identity`.
    versions : dict of str to str
        Versions of the packages that must be the same in all processes, by name.
    """

    source: ModelSource
    identity: dict[str, str]
    versions: dict[str, str]

    @classmethod
    def of(cls, model: Any) -> ModelReference:
        """The reference of a model.

        Parameters
        ----------
        model : what `load_model` or `kipoi.get_model` loaded, or the KipoiModel made of it

        Raises
        ------
        InputError
            If it was made in Python, so that another process does not know where to find it.
        """
        adapter = model if isinstance(model, KipoiModel) else None
        model = model if adapter is None else adapter.model
        source = _source_of(model)
        if source is None or torch_module(model) is None:
            raise InputError(
                "other processes load the model themselves, so it must come from "
                "kipoi_mcdropout.load_model (code in a file, and weights) or from kipoi.get_model; got "
                f"{type(model).__name__}"
            )
        identity = model_identity(model) if adapter is None else adapter.identity()
        own = {key: value for key, value in identity.items() if key in _OF_THE_MODEL}
        return cls(source.absolute(), own, _versions())

    def load(self) -> Any:
        """Load the model in this process.

        Returns
        -------
        LoadedNetwork, or what `kipoi.get_model` returns

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
        model = self.source.load(with_dataloader=False)
        found = model_identity(model) if torch_module(model) is not None else {}
        other = [key for key, value in self.identity.items() if found.get(key) != value]
        if other:
            what = ", ".join(key.removesuffix("_sha256") for key in other)
            origin = f" (source {self.source.kipoi_source!r})" if self.source.is_kipoi else ""
            raise ModelError(
                f"the model {self.source.model!r}{origin} must be the one that the run began "
                f"with; its {what} differ here. Make the same files visible to all processes"
            )
        return model


def _source_of(model: Any) -> ModelSource | None:
    if (known := source_of(model)) is not None:
        return known
    name, source = getattr(model, "name", None), getattr(model, "source_name", None)
    return ModelSource(name, source) if name and source else None


def _versions() -> dict[str, str]:
    """Versions in this process of the packages that must be the same in all."""
    versions = package_versions()
    return {name: versions[name] for name in _SAME}
