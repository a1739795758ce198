"""Finds out what each file has: effects of an ISM, of a VCF, or results of `mr` and `evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.files.read_tables import read_header, read_table

EffectKind = Literal["ism", "variants"]

# By the columns that a table must have. The first that fits is taken.
_COLUMNS = {
    "estimates": {"method", "estimate", "exposure", "outcome", "warnings", "f_mean"},
    "across_sequences": {"sequence", "method", "estimate", "tau2"},
    "leave_one_out": {"without", "estimate", "exposure", "outcome"},
    "instruments": {"SNP", "beta.exposure", "se.exposure", "beta.outcome", "se.outcome", "mr_keep"},
    "chosen": {"exposure", "outcome", "SNP", "mr_keep", "reason", "beta_exposure", "group"},
    "skipped": {"chrom", "pos", "allele", "line", "reason", "detail"},
    "evaluation": {"quantity", "order", "minus", "coverage", "value", "lower", "upper", "level"},
    "failed": {"sequence", "name", "reason"},
}
_FAILED_SUFFIX = ".failed.tsv"  # of what `ism --on_error skip` writes beside its first output
_WANTED = (
    "the result of `kipoi mcdropout ism` (.h5, .parquet, .tsv), the table of `score_variants` (if you "
    "like, with the table of --skipped), the tables of `mr` or a folder that has them, and those of "
    "`evaluate`"
)
_BINARY = (".h5", ".hdf5", ".parquet", ".pq", ".h5ad")
_TEXT = (".tsv", ".tsv.gz")


@dataclass(frozen=True)
class EffectFile:
    """A file of effects with the record of the run that made it."""

    path: Path
    kind: EffectKind
    record: dict[str, Any]


@dataclass
class Inputs:
    """All inputs of a report.

    `tables` has, by kind, the path and rows of each of: estimates, across_sequences, leave_one_out and
    chosen of `mr` (its instruments), instruments of `export_mr`, evaluation of `evaluate`, skipped
    alleles of `score_variants`, and failed sequences of `ism`, which are looked for beside its result
    too.
    """

    effects: EffectFile | None = None
    tables: dict[str, list[tuple[Path, pd.DataFrame]]] = field(default_factory=dict)
    mr_records: list[dict[str, Any]] = field(default_factory=list)  # provenance, where there is some

    def rows(self, kind: str) -> pd.DataFrame:
        """All rows of a kind; an empty table where there are none."""
        parts = [table for _, table in self.tables.get(kind, [])]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def find_inputs(paths: Sequence[str | Path]) -> Inputs:
    """Look into the files and folders and find out what each has.

    Raises
    ------
    InputError
        If one does not exist or is nothing that a report can show, if there are two files of effects,
        or if a folder has nothing in it.
    """
    if not paths:
        raise InputError(f"a report needs at least one of {_WANTED}; got none")
    found = Inputs()
    for path in map(Path, paths):
        if path.is_dir():
            _add_folder(found, path)
        elif path.is_file():
            if not _add_file(found, path):
                raise InputError(f"a report cannot show {path}. It takes {_WANTED}")
        else:
            raise InputError(f"there is no file or folder {path}")
    _check_belong(found, "skipped", "variants", "skipped alleles of a VCF", "score_variants (-t)")
    _check_belong(found, "failed", "ism", "failed sequences", "ism (-o)")
    return found


def _check_belong(found: Inputs, kind: str, of: EffectKind, what: str, command: str) -> None:
    if found.tables.get(kind) and (found.effects is None or found.effects.kind != of):
        raise InputError(
            f"{found.tables[kind][0][0]} has {what}; give the result of the same run of {command} too"
        )


def _add_folder(found: Inputs, folder: Path) -> None:
    """The tables of `mr` and `export_mr` in a folder and, for several outcomes, in those below it.

    Other files are passed over, so that a folder may have other things in it.
    """
    places = [folder, *(p for p in sorted(folder.iterdir()) if p.is_dir() and p.name != "sequences")]
    files = [p for place in places for p in sorted(place.iterdir()) if p.name.endswith(_TEXT)]
    if not any([_add_file(found, path, effects=False) for path in files]):
        raise InputError(
            f"the folder {folder} has no table of `kipoi mcdropout mr` or `export_mr`; give the files "
            "themselves, or the folder that `mr -o FOLDER/mr.tsv` wrote into"
        )


def _add_file(found: Inputs, path: Path, effects: bool = True) -> bool:
    """Take a file in; returns whether it is of a known kind."""
    if path.name.endswith(_TEXT):
        header = read_header(path)
        for kind, columns in _COLUMNS.items():
            if columns <= set(header.columns):
                tables = found.tables.setdefault(kind, [])
                if not any(path.samefile(other) for other, _ in tables):  # given twice, it counts once
                    tables.append((path, read_table(path)))
                if kind == "estimates" and header.record is not None:
                    found.mr_records.append(read_provenance(path))
                return True
    elif not path.name.endswith(_BINARY):
        return False
    if not effects:
        return False
    record = read_provenance(path)
    kind = _effect_kind(path, record)
    if found.effects is not None:
        raise InputError(
            f"a report shows one run; got effects in {found.effects.path} and in {path}. Make a report "
            "of each"
        )
    found.effects = EffectFile(path, kind, record)
    failed = path.with_name(path.name + _FAILED_SUFFIX)
    if kind == "ism" and failed.is_file():
        _add_file(found, failed)
    return True


def _effect_kind(path: Path, record: dict[str, Any]) -> EffectKind:
    options = record.get("options", {})
    if "info_prefix" in options:
        return "variants"
    if options.get("method") == "mcdropout_ism":
        return "ism"
    what = options.get("method") or "another command"
    raise InputError(f"{path} was written by {what}, which a report cannot show. It takes {_WANTED}")
