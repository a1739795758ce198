"""The `postprocessing` of a model and its dataloader, which Kipoi no longer reads from their YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.veff.repair import repair

_KEY = "variant_effects"


def attach_postprocessing(model: Any) -> None:
    """Give a model and its default dataloader the `postprocessing` that kipoi-veff looks for.

    What they have already is left. Kipoi ignores the key since 0.6.37, so it is read from model.yaml and
    dataloader.yaml, or from the docstring of a dataloader class that has its description there, as
    kipoiseq's have.

    Raises
    ------
    InputError
        If model.yaml has no postprocessing.variant_effects.
    """
    kipoi_veff: Any = repair()
    if not _has(model):
        folder = Path(getattr(model, "source_dir", None) or ".")
        settings = _settings(_load(folder, "model"))
        if settings is None:
            raise InputError(
                f"the model.yaml in {folder} must say `postprocessing: {_KEY}: seq_input: [...]` , "
                "which tells kipoi-veff the input with the DNA; this is missing"
            )
        model.postprocessing = {_KEY: kipoi_veff.ModelParser.from_config(settings)}
    dataloader = model.default_dataloader
    if dataloader is not None and not _has(dataloader):
        settings = _dataloader_settings(dataloader)
        parsed = {} if settings is None else {_KEY: kipoi_veff.DataloaderParser.from_config(settings)}
        dataloader.postprocessing = parsed


def _has(thing: Any) -> bool:
    return bool((getattr(thing, "postprocessing", None) or {}).get(_KEY))


def _dataloader_settings(dataloader: Any) -> dict[str, Any] | None:
    folder = getattr(dataloader, "source_dir", None)
    if folder is not None and (found := _settings(_load(Path(folder), "dataloader"))) is not None:
        return found
    try:
        described = yaml.safe_load(dataloader.__doc__ or "")
    except yaml.YAMLError:
        return None
    return _settings(described)


def _load(folder: Path, name: str) -> Any:
    for path in (folder / f"{name}.yaml", folder / f"{name}.yml"):
        if path.is_file():
            return yaml.safe_load(path.read_text(encoding="utf-8"))
    return None


def _settings(description: Any) -> dict[str, Any] | None:
    if not isinstance(description, dict):
        return None
    return (description.get("postprocessing") or {}).get(_KEY)
