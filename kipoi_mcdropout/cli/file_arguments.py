"""Which arguments of a command name files that it reads, and which name files that it writes."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from kipoi_mcdropout.files.same_file import check_not_inputs, named_files

# Names of the arguments of all commands that name files to write.
OUTPUTS = (
    "output", "output_vcf", "table", "skipped", "leave_one_out", "across_sequences", "scaled", "plot",
    "conformal_output", "save_instruments", "multivariable", "modisco",
)  # fmt: skip
_JSON = ("dataloader_args", "imp_score_kwargs", "score_kwargs", "extra_inputs")
_MODEL_FILES = ("model.yaml", "model.yml", "dataloader.yaml", "dataloader.yml", "mcdropout.yaml")


def check_files(options: argparse.Namespace) -> None:
    """Raise OutputError where an output is a file that the command reads, or two outputs are one file.

    Every argument that is not an output is looked at: the paths of files, those within JSON, and the
    files of a model's folder.
    """
    outputs, inputs = [], {}
    for name, value in vars(options).items():
        if name in OUTPUTS:
            outputs += value if isinstance(value, list) else [] if value is None else [value]
        elif name in _JSON:
            inputs.update(_files_in_words(value, f"the file of --{name}"))
        elif name == "model":
            inputs.update(_files_of_model(value))
        else:
            inputs.update(named_files(value, f"the file of the argument {name}"))
            if isinstance(value, str):  # FILE::FUNCTION
                inputs.update(named_files(value.partition("::")[0], f"the file of --{name}"))
    check_not_inputs(outputs, inputs)


def _files_in_words(words: Any, what: str) -> dict[str, str]:
    """Files named by JSON, by words key=value, or by a file of JSON, which is one itself."""
    found = {}
    for word in words if isinstance(words, list) else [] if words is None else [words]:
        found.update(named_files(word, what))
        found.update(named_files(word.partition("=")[2], what))
        try:
            text = Path(word).read_text(encoding="utf-8") if word in found.values() else word
            found.update(named_files(json.loads(text), what))
        except (ValueError, OSError):  # told where it is parsed
            continue
    return found


def _files_of_model(model: str) -> dict[str, str]:
    """The file of FILE.py:NAME, or the description, code and weights of a model in a local folder."""
    code = Path(model.partition(".py:")[0] + ".py")
    path = Path(model)
    folder = path.parent if path.suffix in (".yaml", ".yml") else path
    found = [code, path]
    found += [folder / name for name in _MODEL_FILES] if folder.is_dir() else []
    found += sorted(folder.glob("*.py")) if path.is_dir() else []
    for description in [path] if path.is_file() else [folder / name for name in _MODEL_FILES]:
        if description.suffix in (".yaml", ".yml") and description.is_file():
            words = _words(description)
            found += [folder / word for word in words]
            found += [folder / f"{word.partition('.py:')[0]}.py" for word in words if ".py:" in word]
    return {f"{path.name} of the model": str(path) for path in found if os.path.isfile(path)}


def _words(path: Path) -> list[str]:
    """All texts of a YAML file that could be paths of files."""
    import yaml

    def texts(value: Any) -> list[str]:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        own = [value] if isinstance(value, str) and "\n" not in value else []
        return own + [text for part in parts for text in texts(part)]

    try:
        return texts(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError):  # told where the model is loaded
        return []
