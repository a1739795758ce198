"""Effects for other programs: tracks for genome browsers, and the input of motif discovery.

>>> from kipoi_mcdropout.tracks import write_modisco, write_tracks
>>> write_tracks("ism.h5", "tracks/ism")  # doctest: +SKIP
>>> write_modisco("ism.h5", "motifs.npz", outputs="FOXA2")  # doctest: +SKIP
"""

from __future__ import annotations

from kipoi_mcdropout.tracks.modisco import write_modisco
from kipoi_mcdropout.tracks.write import write_tracks

__all__ = ["write_modisco", "write_tracks"]
