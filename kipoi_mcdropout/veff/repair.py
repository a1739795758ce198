"""Make kipoi-veff 0.3.1 (of 2019) run on current numpy, kipoi and pyvcf3, in memory only.

Nothing of numpy is touched, and no file of kipoi-veff: names in three of its modules, one method of its
VCF writer, and its mutator, which would put a wrong REF into the sequence and go on.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from types import ModuleType
from typing import Any

import numpy as np

from kipoi_mcdropout.errors import InputError, McDropoutError

_VERSION = "0.3.1"
_OLD_NUMPY = {"int": int, "str": str, "in1d": np.isin}
_USE_OLD_NUMPY = ("utils.mutators", "utils.dna_reshapers", "snv_predict")
_INSTALL = (
    "pip install pysam pybedtools 'pyvcf3>=1.0.4', then pip install --no-deps kipoi-veff==0.3.1 (pip "
    "cannot resolve its requirements of 2019)"
)


class VeffError(McDropoutError):
    """kipoi-veff is missing, or is another version."""


class _Numpy(ModuleType):
    """numpy with the names that kipoi-veff knows."""

    def __getattr__(self, name: str) -> Any:
        return _OLD_NUMPY[name] if name in _OLD_NUMPY else getattr(np, name)


def repair() -> ModuleType:
    """Import kipoi_veff and mend what is broken; any number of times.

    Returns
    -------
    module
        kipoi_veff.

    Raises
    ------
    VeffError
        If it is not installed, or of another version than 0.3.1.
    """
    try:
        version = importlib.metadata.version("kipoi-veff")
        kipoi_veff = importlib.import_module("kipoi_veff")
    except ImportError as error:
        raise VeffError(f"kipoi-veff {_VERSION} is required ({error}): {_INSTALL}") from error
    if version != _VERSION:
        raise VeffError(f"kipoi-veff {_VERSION} is required; version {version} is installed: {_INSTALL}")
    if not getattr(kipoi_veff, "_repaired_by_kipoi_mcdropout", False):
        _mend(kipoi_veff)
    return kipoi_veff


def _mend(kipoi_veff: Any) -> None:
    for name in _USE_OLD_NUMPY:
        module: Any = importlib.import_module(f"kipoi_veff.{name}")
        module.np = _Numpy("numpy")
    io: Any = importlib.import_module("kipoi_veff.utils.io")
    io.VcfWriter._generate_info_field = staticmethod(_info_field)
    mutators: Any = importlib.import_module("kipoi_veff.utils.mutators")
    _refuse_wrong_ref(mutators)
    kipoi_veff._repaired_by_kipoi_mcdropout = True


def _info_field(id: str, num: object, info_type: str, desc: str, source: object, version: object) -> Any:
    """A header field with the type code that pyvcf3's writer wants."""
    parser: Any = importlib.import_module("vcf.parser")
    return parser._Info(id, num, info_type, desc, source, version, None)


def _refuse_wrong_ref(mutators: Any) -> None:
    """Raise where kipoi-veff finds another base than REF, which it would overwrite."""
    modify = mutators._modify_bases
    mutate = mutators.OneHotSequenceMutator.__call__

    def checked(*args: Any, **kwargs: Any) -> Any:
        rows = modify(*args, **kwargs)
        if rows:
            raise _WrongRefError(rows)
        return rows

    def called(self: Any, input_set: Any, variant_loc: Any, allele: str, s_dir: str) -> Any:
        try:
            return mutate(self, input_set, variant_loc, allele, s_dir)
        except _WrongRefError as error:
            names = np.asarray(variant_loc.get("id"))[error.rows[:5]]
            raise InputError(
                "REF is not the base of the sequence at "
                f"{', '.join(map(str, names))}{' and others' if len(error.rows) > 5 else ''}: "
                "kipoi-veff would put it into the sequence and score it. Check that VCF and FASTA are "
                "of the same assembly, and check the strand"
            ) from None

    mutators._modify_bases = checked
    mutators.OneHotSequenceMutator.__call__ = called


class _WrongRefError(Exception):
    def __init__(self, rows: list[int]) -> None:
        super().__init__()
        self.rows = rows
