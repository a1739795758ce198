"""Blocks of an engine made ready to be summarised: profiles are compared, then reduced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kipoi_mcdropout.effects.rounding import output_rounding
from kipoi_mcdropout.effects.scores import Score
from kipoi_mcdropout.engine.full import DrawBlock, Engine
from kipoi_mcdropout.outputs.profiles import Profiles
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.mutants import MutantBatch

_NUMBERS = 131_072  # of profiles that are compared at a time; some copies of them are in float64


class Compared(NamedTuple):
    """A score of profiles, and the same without what is only rounding; (draws, mutants, outputs)."""

    effect: Tensor
    sign: Tensor


class ReadBlock(NamedTuple):
    """As a `DrawBlock`, of the outputs that are reported; with the scores of profiles by name."""

    mutants: slice
    ref: Tensor  # shape=(draws, references, outputs)
    alt: Tensor  # shape=(draws, mutants, outputs)
    compared: dict[str, Compared]

    def part(self, rows: slice) -> ReadBlock:
        """Some of its mutants, by their numbers in the batch."""
        begin = self.mutants.start
        own = slice(rows.start - begin, rows.stop - begin)
        compared = {name: Compared(*(x[:, own] for x in both)) for name, both in self.compared.items()}
        return ReadBlock(rows, self.ref, self.alt[:, own], compared)


def read_blocks(
    engine: Engine,
    batch: MutantBatch,
    draws: Sequence[int],
    targets: Targets,
    scores: Sequence[Score],
) -> Iterator[ReadBlock]:
    """Run an engine and read its outputs; see `Engine.run`."""
    profiles = targets.profiles
    reader = None if profiles is None else _Reader(profiles, batch, targets.eps, scores)
    for block in engine.run(batch, draws, targets.selected):
        yield ReadBlock(*block, {}) if reader is None else reader.read(block)


class _Reader:
    """Compares and reduces the profiles of blocks, some at a time."""

    def __init__(
        self, profiles: Profiles, batch: MutantBatch, eps: float, scores: Sequence[Score]
    ) -> None:
        self.profiles, self.eps = profiles, eps
        self.scores = [score for score in scores if score.on_profiles]
        self.owner = torch.from_numpy(batch.owner)
        self.unchanged = torch.from_numpy(batch.unchanged())
        self.at_once = max(1, _NUMBERS // profiles.size)

    def read(self, block: DrawBlock) -> ReadBlock:
        """A block of whole profiles with its scores and reduced outputs."""
        n_outputs = len(self.profiles.columns)
        ref = block.ref.new_empty(*block.ref.shape[:2], n_outputs)
        alt = block.alt.new_empty(*block.alt.shape[:2], n_outputs)
        compared = {
            score.name: Compared(*(alt.new_empty(alt.shape, dtype=torch.float64) for _ in range(2)))
            for score in self.scores
        }
        eps = max(self.eps, torch.finfo(block.alt.dtype).eps)
        for draw in range(len(block.alt)):
            references = self.profiles.rows(block.ref[draw])
            for rows in torch.arange(len(references)).split(self.at_once):
                ref[draw, rows] = self.profiles.values(references[rows].double()).to(ref.dtype)
            for rows in torch.arange(block.alt.shape[1]).split(self.at_once):
                numbers = rows + block.mutants.start
                old = references[self.owner[numbers]].double()
                new = self.profiles.rows(block.alt[draw, rows]).double()
                same = self.unchanged[numbers]
                new[same] = old[same]  # whatever the kernels round
                alt[draw, rows] = self.profiles.values(new).to(alt.dtype)
                for name, found in self._compare(old, new, eps).items():
                    compared[name].effect[draw, rows], compared[name].sign[draw, rows] = found
        return ReadBlock(block.mutants, ref, alt, compared)

    def _compare(self, old: Tensor, new: Tensor, eps: float) -> dict[str, Compared]:
        """Scores of some mutants, shape=(mutants, outputs), of (mutants, rows, bins)."""

        def only_rounding(ref: Tensor, alt: Tensor) -> Tensor:
            within: Tensor = (alt - ref).abs() <= output_rounding(ref, eps, torch)
            return within.all(dim=-1)

        still = self.profiles.scores(only_rounding, old, new)
        effects = {s.name: self.profiles.scores(s.function, old, new) for s in self.scores}
        return {name: Compared(x, x.masked_fill(still, 0.0)) for name, x in effects.items()}
