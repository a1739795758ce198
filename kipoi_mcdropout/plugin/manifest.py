"""The manifest `kipoi_plugin.yaml`: what this package adds to Kipoi."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import McDropoutError

MANIFEST_NAME = "kipoi_plugin.yaml"


class ManifestError(McDropoutError):
    """The manifest is missing, or does not say what is needed."""


@dataclass(frozen=True)
class Method:
    """An importance score: its name for `--method` and its class as "module:class"."""

    name: str
    class_path: str
    description: str


@dataclass(frozen=True)
class InterpretEntry:
    """A command of `kipoi interpret` and the function that serves it, as "module:function"."""

    name: str
    function_path: str


@dataclass(frozen=True)
class Manifest:
    """Content of `kipoi_plugin.yaml`."""

    name: str
    module: str
    command: str
    description: str
    url: str
    methods: tuple[Method, ...]
    interpret_commands: tuple[InterpretEntry, ...]


def manifest_path() -> Path:
    """Where the manifest is: in the installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    candidates = [package / MANIFEST_NAME, package.parent / MANIFEST_NAME]
    for path in candidates:
        if path.is_file():
            return path
    raise ManifestError(f"no {MANIFEST_NAME} in {' or '.join(str(p.parent) for p in candidates)}")


def load_manifest(path: Path | None = None) -> Manifest:
    """Read the manifest; raise ManifestError where it lacks a key or Kipoi could not use it."""
    import yaml

    path = path or manifest_path()
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        manifest = _parse(content)
    except (KeyError, TypeError) as error:
        raise ManifestError(f"{path}: required key missing or not a mapping: {error}") from error
    # kipoi.plugin derives the command from the plugin's name, and imports the plugin by its name.
    if manifest.name != manifest.module or manifest.name != f"kipoi_{manifest.command}":
        raise ManifestError(
            f"{path}: name must equal module and be 'kipoi_' + command; got name "
            f"{manifest.name!r}, module {manifest.module!r}, command {manifest.command!r}"
        )
    return manifest


def load_object(path: str) -> Any:
    """Import "module:name" and return the object."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _parse(content: Any) -> Manifest:
    return Manifest(
        name=content["name"],
        module=content["module"],
        command=content["command"],
        description=content["description"],
        url=content["url"],
        methods=tuple(
            Method(entry["name"], entry["class"], entry["description"])
            for entry in content["methods"]
        ),
        interpret_commands=tuple(
            InterpretEntry(entry["name"], entry["function"])
            for entry in content["interpret_commands"]
        ),
    )
