"""The simulated process of deepmr: sequences with binding sites, and what an assay counts of them.

Not a benchmark: `deepmr.py` uses it. Source: Malina, Cizin and Knowles, PLoS Comput Biol 2022,
doi:10.1371/journal.pcbi.1009880, and the authors' code, github.com/an1lam/deepmr at commit 04c9699
(`src/tf_coop_simulation.py`, `tf_coop_main.py`, `tf_coop_true_ces.py`).

Taken from there: 100 bp of background (A and T 0.27, C and G 0.23); in three of four sequences one of
exposure site, outcome site, or both; with a sequence-dependent confounder a third site in every second
sequence. The occupancy of a motif is q = 1 - prod(1 - s) over positions, with s = 1 / (1 + exp(-log
odds)) on the forward strand. The expected counts are

    exposure = 1 + alpha q_exp         + 20 q_conf + 25 b
    outcome  = 1 + beta  q_exp q_out   + 30 q_conf + 25 b

with b = 1 in half of the sequences under sequence-independent confounding, alpha from N(100, 3), beta =
alpha * effect, and effect from N(1, 0.5) or N(10, 0.5), at least 0. Counts are Poisson. Networks learn
the Anscombe transform 2 sqrt(count + 3/8). The true local effect of a sequence with both sites is the
least-squares slope through 0 of the transformed expected outcome on the exposure, over all
substitutions in the exposure site, without confounders. The true global effect is its mean.

Chosen here: the motifs are written from their consensus (GATA_disc1, TAL1_known1 and SOX2_1 of the
ENCODE motifs) instead of from the matrices. The process of the paper has counts alone. The binary form
is ours: an output is 1 with probability 0.03 + 0.94 p, with p = q_exp for the exposure and p = w q_exp
q_out for the outcome, w from U(0.3, 1), each with 15 % (exposure) and 30 % (outcome) of the rest added
by a confounder; effects are on the logit scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Codes = NDArray[np.int64]

LENGTH = 100
BASES = "ACGT"
BACKGROUND = np.array([0.27, 0.23, 0.23, 0.27])
IUPAC = {
    "A": "A", "C": "C", "G": "G", "T": "T", "W": "AT", "S": "CG", "M": "AC", "K": "GT", "R": "AG",
    "Y": "CT", "B": "CGT", "V": "ACG",
}  # fmt: skip
WEAK_SHARE = 0.8  # of the bases that a small letter of a consensus stands for
# Consensus and the share of the bases that a capital stands for; "n" is background.
MOTIFS = {
    "exposure": ("nswGATAAGn", 0.9999),
    "outcome": ("nnbamCAGATGkynnn", 0.9999),
    "confounder": ("cywTTGTymtkywra", 0.9),
}


@dataclass(frozen=True)
class Scenario:
    """What confounds exposure and outcome, and what is measured."""

    name: str
    by_sequence: bool = False  # a third site
    by_chance: bool = False  # what no sequence tells
    binary: bool = False


SCENARIOS = (
    Scenario("no confounding"),
    Scenario("sequence-independent", by_chance=True),
    Scenario("sequence-dependent", by_sequence=True),
    Scenario("both", by_sequence=True, by_chance=True),
    Scenario("binary, no confounding", binary=True),
    Scenario("binary, sequence-dependent", by_sequence=True, binary=True),
)


@dataclass(frozen=True)
class Data:
    """Sequences, shape=(n, LENGTH); labels, shape=(n, 2); first position of each site, -1: none."""

    codes: Codes
    labels: FloatArray
    exposure_at: Codes
    outcome_at: Codes


def matrix(name: str) -> FloatArray:
    """Base probabilities of a motif, shape=(width, 4)."""
    consensus, sure = MOTIFS[name]
    rows = np.tile(BACKGROUND, (len(consensus), 1))
    for row, letter in zip(rows, consensus, strict=True):
        if letter != "n":
            meant = np.array([base in IUPAC[letter.upper()] for base in BASES])
            share = sure if letter.isupper() else WEAK_SHARE
            row[:] = np.where(meant, share / meant.sum(), (1 - share) / (~meant).sum())
    return rows


def occupancy(codes: Codes, name: str) -> FloatArray:
    """Of a motif in each sequence (q), shape=(n,)."""
    log_odds = np.log(matrix(name) / BACKGROUND)
    n_places = codes.shape[1] - len(log_odds) + 1
    total = sum(row[codes[:, i : i + n_places]] for i, row in enumerate(log_odds))
    return 1 - np.prod(1 / (1 + np.exp(total)), axis=1)


def one_hot(codes: Codes) -> NDArray[np.float32]:
    """shape=(n, 4, positions)."""
    return np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1)


def transformed(counts: FloatArray) -> FloatArray:
    """Anscombe's transform of counts."""
    return 2 * np.sqrt(counts + 3 / 8)


def substitutions(codes: Codes, start: int = 0, end: int = LENGTH) -> Codes:
    """All substitutions of one sequence in a window, shape=(3 * window, LENGTH)."""
    mutants = np.repeat(codes[None], 3 * (end - start), axis=0)
    places = np.repeat(np.arange(start, end), 3)
    mutants[np.arange(len(mutants)), places] += np.tile([1, 2, 3], end - start)
    return mutants % 4


class Process:
    """One data set's process: its effect sizes, and sequences with labels from it."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.rng = np.random.default_rng(seed)
        self.alpha = self.rng.normal(100, 3)
        self.effect = max(0.0, self.rng.normal(self.rng.choice([1.0, 10.0]), 0.5))
        if scenario.binary:
            self.effect = self.rng.uniform(0.3, 1)

    def expected(self, codes: Codes, *, confounded: bool = True) -> FloatArray:
        """Expected counts, or probabilities, of both outputs, shape=(n, 2)."""
        s, n = self.scenario, len(codes)
        q_exposure, q_both = occupancy(codes, "exposure"), occupancy(codes, "outcome")
        q_both = q_both * q_exposure
        third = occupancy(codes, "confounder") if confounded and s.by_sequence else np.zeros(n)
        chance = self.rng.integers(2, size=n) if confounded and s.by_chance else np.zeros(n)
        if s.binary:
            p = np.stack([q_exposure, self.effect * q_both], axis=1)
            p += (1 - p) * np.array([0.15, 0.3]) * third[:, None]
            return 0.03 + 0.94 * p
        exposure = 1 + self.alpha * q_exposure + 20 * third + 25 * chance
        outcome = 1 + self.alpha * self.effect * q_both + 30 * third + 25 * chance
        return np.stack([exposure, outcome], axis=1)

    def on_scale(self, expected: FloatArray) -> FloatArray:
        """On the scale of the networks' outputs."""
        return np.log(expected / (1 - expected)) if self.scenario.binary else transformed(expected)

    def measured(self, codes: Codes) -> FloatArray:
        """Labels of the assay, shape=(n, 2): 0 or 1, or transformed counts."""
        expected = self.expected(codes)
        if self.scenario.binary:
            return (self.rng.random(expected.shape) < expected).astype(np.float64)
        return transformed(self.rng.poisson(expected).astype(np.float64))

    def data(self, n: int, *, both_sites: bool = False) -> Data:
        """Sequences with labels; `both_sites` puts both into each."""
        codes = self.rng.choice(4, size=(n, LENGTH), p=BACKGROUND)
        kind = np.full(n, 2) if both_sites else self.rng.integers(4, size=n)  # 3: none
        at = np.full((2, n), -1)
        widths = [len(MOTIFS[name][0]) for name in ("exposure", "outcome")]
        for i in range(n):
            if self.scenario.by_sequence and self.rng.random() < 0.5:
                self._embed(codes[i], "confounder", int(self.rng.integers(LENGTH - 14)))
            if kind[i] == 2:
                apart = int(self.rng.integers(LENGTH - sum(widths) + 1))
                first = int(self.rng.integers(LENGTH - sum(widths) - apart + 1))
                at[:, i] = first, first + widths[0] + apart
            elif kind[i] < 2:
                at[kind[i], i] = self.rng.integers(LENGTH - widths[kind[i]] + 1)
            for name, place in zip(("exposure", "outcome"), at[:, i], strict=True):
                if place >= 0:
                    self._embed(codes[i], name, int(place))
        return Data(codes, self.measured(codes), at[0], at[1])

    def variants(self, data: Data, n: int) -> Data:
        """Some of the sequences again, with one substitution in each site, or one anywhere."""
        rows = self.rng.choice(len(data.codes), n)
        codes = data.codes[rows].copy()
        for i, row in enumerate(rows):
            sites = [(data.exposure_at[row], "exposure"), (data.outcome_at[row], "outcome")]
            windows = [(at, len(MOTIFS[name][0])) for at, name in sites if at >= 0]
            for first, width in windows or [(0, LENGTH)]:
                place = first + self.rng.integers(width)
                codes[i, place] = (codes[i, place] + self.rng.integers(1, 4)) % 4
        return Data(codes, self.measured(codes), data.exposure_at[rows], data.outcome_at[rows])

    def true_slopes(self, data: Data) -> FloatArray:
        """The true local effect of each sequence, shape=(n,)."""
        found = []
        for codes, start in zip(data.codes, data.exposure_at, strict=True):
            mutants = substitutions(codes, start, start + len(MOTIFS["exposure"][0]))
            both = np.concatenate([codes[None], mutants])
            values = self.on_scale(self.expected(both, confounded=False))
            x, y = (values[1:] - values[0]).T
            found.append((x * y).sum() / (x * x).sum())
        return np.array(found)

    def _embed(self, codes: Codes, name: str, place: int) -> None:
        rows = matrix(name)
        draws = self.rng.random(len(rows))[:, None]
        codes[place : place + len(rows)] = (np.cumsum(rows, axis=1)[:, :3] < draws).sum(axis=1)
