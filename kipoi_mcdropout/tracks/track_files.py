"""The files of one call: their names, when they appear, and the list of them with the provenance."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.atomic import atomic_path, check_free
from kipoi_mcdropout.files.same_file import check_not_inputs
from kipoi_mcdropout.mr.export.file_names import safe_file_name
from kipoi_mcdropout.significance.add_intervals import without_tables
from kipoi_mcdropout.tracks.contig_sizes import contig_sizes
from kipoi_mcdropout.tracks.result import Labels, Outputs, Result

SIGNAL_SUFFIXES = {"bigwig": ".bw", "bedgraph": ".bedGraph.gz"}  # of the result of `ism`
VARIANT_SUFFIXES = {"bigbed": ".bb", "bed": ".bed.gz"}  # of that of `score_variants`
FORMATS = (*SIGNAL_SUFFIXES, *VARIANT_SUFFIXES)
_PACKAGES = {"bigwig": "pyBigWig", "bigbed": "pybigtools"}


@dataclass(frozen=True)
class TrackOptions:
    """How tracks are written; see `write.write_tracks`."""

    outputs: Outputs = None
    score: str | None = None
    fasta_file: str | Path | None = None
    formats: Sequence[str] | None = None
    full_colour: float | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.full_colour is not None and not 0 < self.full_colour < float("inf"):
            raise InputError(f"full_colour must be an effect above 0; got {self.full_colour}")

    def suffixes(self, is_variants: bool) -> dict[str, str]:
        """The formats that are asked for, of those that there are for the result.

        Raises
        ------
        InputError
            If there is no such format for it, or its package is not installed.
        """
        known = VARIANT_SUFFIXES if is_variants else SIGNAL_SUFFIXES
        asked = list(known) if self.formats is None else list(dict.fromkeys(self.formats))
        if not asked or set(asked) - set(known):
            raise InputError(
                f"the formats of this result are {' and '.join(known)}; got "
                f"{', '.join(asked) or 'none'}. {' and '.join(SIGNAL_SUFFIXES)} are of the result of "
                f"`ism`, {' and '.join(VARIANT_SUFFIXES)} of that of `score_variants`"
            )
        for name in asked:
            if name in _PACKAGES:
                require(_PACKAGES[name])
        return {name: known[name] for name in asked}


def require(package: str) -> Any:
    """A package of the extra `tracks`; InputError where it is not there."""
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"this format needs {package}, which cannot be imported ({error}): pip install "
            "'kipoi_mcdropout[tracks]'"
        ) from error


class TrackFiles:
    """Makes the files of one call, each of which appears when it is whole.

    Attributes
    ----------
    record : dict
        Provenance of the result, with how the tracks were made.
    paths : list of Path
        Of the files that were written.
    lines : list of str
        What is in them.
    """

    def __init__(
        self, result: Result, prefix: str, options: TrackOptions, made: Mapping[str, Any]
    ) -> None:
        self.record = {**without_tables(result.record), "tracks": dict(made)}
        self.suffixes = options.suffixes(result.is_variants)
        self.paths: list[Path] = []
        self.lines: list[str] = []
        self._options = options
        self._stem = prefix if prefix.endswith("/") else f"{prefix}."
        self._list = Path(f"{self._stem}tracks.json")
        self._tracks: list[dict[str, Any]] = []
        self._sources = {"the result": result.path, "the FASTA": options.fasta_file}

    def check(self, labels: Labels, tracks: Sequence[str]) -> None:
        """Raise OutputError unless all files can be made."""
        ends = self.suffixes.values()
        paths = [self._path(label, track, end) for label in labels for track in tracks for end in ends]
        check_not_inputs([*paths, self._list], self._sources)
        check_free([*paths, self._list], self._options.overwrite)

    @contextlib.contextmanager
    def file(self, label: str, track: str, suffix: str, about: Mapping[str, Any]) -> Iterator[Path]:
        """A temporary path for a track; `about` is what the list says of it."""
        path = self._path(label, track, suffix)
        with atomic_path(path, self._options.overwrite) as temporary:
            yield temporary
        self._tracks.append({"file": path.name, "output": label, "track": track, **about})
        self.paths.append(path)

    def sizes(self, ends: Mapping[str, int]) -> dict[str, int]:
        """Lengths of the contigs, by name; see `contig_sizes`."""
        return contig_sizes(ends, self.record, self._options.fasta_file)

    def finish(self) -> None:
        """Write the list of the tracks."""
        about = {"tracks": self._tracks, "kipoi_mcdropout": self.record}
        with atomic_path(self._list, self._options.overwrite) as temporary:
            temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        self.paths.append(self._list)

    def _path(self, label: str, track: str, suffix: str) -> Path:
        return Path(f"{self._stem}{safe_file_name(label)}.{track}{suffix}")
