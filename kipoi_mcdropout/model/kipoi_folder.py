"""A Kipoi folder made of a network from Python code: what `kipoi.get_model` loads and runs the same."""

from __future__ import annotations

import io
import keyword
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from kipoi_mcdropout.arrays.nested import Nested, entries, leaves
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.kipoi_dataloader import dataloader_code, dataloader_yaml, input_name
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.python_code import CodeName
from kipoi_mcdropout.model.sequence_model import SequenceModel
from kipoi_mcdropout.model.sibling_code import code_folder, neighbours_of
from kipoi_mcdropout.model.source import ModelSource

_CODE_FOLDER = "code"
_MODEL = '''"""The network {name}; written by `kipoi mcdropout init --kipoi`."""

import os
import sys

_CODE = os.path.join(os.getcwd(), "{folder}")  # Kipoi runs this file in its folder
sys.path.insert(0, _CODE)
try:
    from {module} import {first}
finally:
    sys.path.remove(_CODE)


def network(**kwargs):
    return {maker}
'''


def kipoi_files(model: Model, source: ModelSource) -> dict[str, bytes]:
    """The files of a Kipoi folder, by their names in it.

    Parameters
    ----------
    model : Model
        As `source` loads it.
    source : ModelSource
        Python code and weights.

    Raises
    ------
    InputError
        If the model is no code, or Kipoi has no words for it.
    """
    if source.code is None:
        raise InputError(
            f"a Kipoi folder is made from Python code, path/to/file.py:NAME; MODEL is {source.model}"
        )
    sequences = model.sequences
    code, module_file = _code_files(source.code)
    inputs = _input_schema(sequences)
    description = {
        "defined_as": "kipoi.model.PyTorchModel",
        "args": {**module_file, "module_kwargs": dict(source.model_kwargs), "weights": "weights.pt"},
        "default_dataloader": ".",
        "info": {"authors": [{"name": "unknown"}], "doc": f"The network {source.model}"},
        "dependencies": {"pip": ["torch"]},
        "schema": {"inputs": inputs, "targets": _target_schema(model)},
    }
    texts = {
        **code,
        "model.yaml": _yaml(description),
        "dataloader.py": dataloader_code(sequences),
        "dataloader.yaml": _yaml(dataloader_yaml(inputs, sequences.length)),
        **_example_files(sequences.length),
    }
    weights = io.BytesIO()
    torch.save(model.adapter.locked.module.state_dict(), weights)
    return {**{name: text.encode() for name, text in texts.items()}, "weights.pt": weights.getvalue()}


def _code_files(code: CodeName) -> tuple[dict[str, str], dict[str, str]]:
    """The code of the network, and how model.yaml names it.

    A file that imports none of its neighbours is copied as model.py. Otherwise it is copied with those
    into a folder, and model.py imports it from there. A module by its name is imported by this name.
    """
    is_network = code.is_network()  # loads it, so that its neighbours are known
    own = Path(code.where) if code.is_file else None
    beside = [] if own is None else neighbours_of(own)
    if own is not None and not beside and "." not in code.name and not is_network:
        named = {"module_file": "model.py", "module_class": code.name}
        return {"model.py": own.read_text(encoding="utf-8")}, named
    module, files = code.where, {}
    if own is not None:
        root, module = code_folder(own)
        for path in [Path(os.path.abspath(own)), *beside]:
            name = path.relative_to(root).as_posix()
            files[f"{_CODE_FOLDER}/{name}"] = path.read_text(encoding="utf-8")
    _check_importable(module)
    first = code.name.partition(".")[0]
    maker = code.name if is_network else f"{code.name}(**kwargs)"
    files["model.py"] = _MODEL.format(
        name=code, folder=_CODE_FOLDER, module=module, first=first, maker=maker
    )
    return files, {"module_file": "model.py", "module_class": "network"}


def _check_importable(module: str) -> None:
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in module.split(".")):
        raise InputError(
            f"Kipoi imports the code by its name, so the name must be one of a Python module; got "
            f"{module}.py. Rename the file, with letters, digits and _"
        )


def _input_schema(sequences: SequenceModel) -> dict[str, Any]:
    if sequences.place.extra:
        raise InputError(
            "a folder for Kipoi is written for models whose only input is the sequence; extra_inputs "
            "(--extra_inputs) gives this one others. A mcdropout.yaml can hold them"
        )
    layout = sequences.layout
    said = {
        "shape": str(tuple(layout.shape)),
        "special_type": "DNASeq",
        "doc": f"One-hot DNA, {layout.alphabet} along axis {layout.category_axis}",
        "associated_metadata": "ranges",
    }
    name = input_name(sequences)
    return {"name": "seq", **said} if name is None else {name: said}


def _target_schema(model: Model) -> Any:
    """What the model gives for one sequence, in the structure in which it gives it."""
    sequences, names = model.sequences, model.settings.outputs
    with model.adapter.locked.borrow():
        outputs = model.adapter.example_outputs(sequences.example())
        model.adapter.targets(outputs, None)  # refuses names that do not fit
    n_arrays = len(list(leaves(outputs)))
    if n_arrays > 1 and names is not None:
        raise InputError(
            f"outputs (--outputs) cannot be written for Kipoi, as the model gives {n_arrays} arrays; "
            "leave it out, and the outputs have the names of the arrays"
        )
    return _array_schemas(outputs, names)


def _array_schemas(outputs: Nested, names: tuple[str, ...] | None) -> Any:
    inner = entries(outputs)
    if inner is None:
        assert not isinstance(outputs, (dict, list, tuple))
        shape = tuple(int(size) for size in outputs.shape[1:])
        labels = {} if names is None else {"column_labels": list(names)}
        return {"shape": str(shape), "doc": "Outputs of the network", **labels}
    if isinstance(outputs, dict):
        return {str(name): _array_schemas(value, None) for name, value in inner}
    if type(outputs) not in (list, tuple):
        raise InputError(
            f"Kipoi takes arrays, dicts, lists and tuples from a network; this one gives "
            f"{type(outputs).__name__}. Write a mcdropout.yaml, without --kipoi"
        )
    return [{"name": str(name), **_array_schemas(value, None)} for name, value in inner]


def _example_files(length: int) -> dict[str, str]:
    """Two windows of random sequence, for `kipoi test`."""
    letters = np.array(list("ACGT"))[np.random.default_rng(0).integers(0, 4, 2 * length)]
    lines = [f"example\t{i * length}\t{(i + 1) * length}\twindow{i}\n" for i in range(2)]
    return {
        "example_files/sequences.fa": f">example\n{''.join(letters)}\n",
        "example_files/intervals.bed": "".join(lines),
    }


def _yaml(said: Any) -> str:
    return yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100)
