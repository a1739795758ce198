"""A share of a run's units, for job arrays without a cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kipoi_mcdropout.errors import InputError


@dataclass(frozen=True)
class Shard:
    """Every `of`-th unit, beginning with number `index` (from 1).

    Units go to the shards in turn, so that shards have equal sizes and the number of units need not be
    known.
    """

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of:
            raise InputError(
                f"shard i/n must have 1 <= i <= n; got {self.index}/{self.of}. The first is 1/{self.of}"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "i/n".

        >>> Shard.parse("2/10")
        Shard(index=2, of=10)
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if match is None:
            raise InputError(f"a shard must be i/n, such as 2/10; got {text!r}")
        return cls(int(match[1]), int(match[2]))

    def has(self, unit: int) -> bool:
        """Whether a unit, counted from 0, belongs to this shard."""
        return unit % self.of == self.index - 1

    @property
    def folder(self) -> str:
        """Name of the folder of its parts."""
        return f"{self.index}-of-{self.of}"
