"""The example's architecture at DeepSEA's width, trained: for benchmarks of a trained network.

    python benchmarks/wide_example.py            # trains it, about 20 minutes on two cores
    python benchmarks/wide_example.py --sequences 8000 --weights short.pt

320, 480 and 960 channels and 925 hidden units, trained on the sequences of the example's simulation
with their true probabilities as targets. It writes the weights and prints how well the effects of
substitutions correlate with the true ones (difference of logits, dropout off). In a trained network
most units are silent, which random weights cannot show.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from networks import SequenceNetwork
from numpy.typing import NDArray
from torch import Tensor, nn

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
WEIGHTS = Path.home() / ".cache" / "mcdropout-wide-example.pt"
SEED = 7
N_SEQUENCES = 160_000
LEARNING_RATE = 7e-4  # wider than the example, so smaller steps


class WideExample(SequenceNetwork):
    """The layers of example/model/model.py with the channels of DeepSEA."""

    input_shape, category_axis = (500, 4), 1

    def __init__(self, n_outputs: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(4, 320, 12), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2),
            nn.Conv1d(320, 480, 7), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2),
            nn.Conv1d(480, 960, 5), nn.ReLU(), nn.MaxPool1d(4),
        )  # fmt: skip
        self.dense = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(960 * 6, 925), nn.ReLU(), nn.Linear(925, n_outputs),
        )  # fmt: skip

    def logits(self, seq: Tensor) -> Tensor:
        """Before the sigmoid; for seq of shape (n, 500, 4)."""
        return self.dense(torch.flatten(self.features(seq.transpose(1, 2)), 1))

    def forward(self, seq: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(seq))


def trained(weights: Path = WEIGHTS) -> WideExample:
    """The network with its trained weights, in evaluation mode."""
    if not weights.exists():
        raise SystemExit(f"{weights} does not exist: run python benchmarks/wide_example.py first")
    network = WideExample()
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


def sequences(n: int) -> NDArray[np.float32]:
    """One-hot sequences of the synthetic genome, shape=(n, 500, 4).

    One is the first of the example's regions, in which sites are planted; several are windows evenly
    over the genome, with sites and without, those with unknown bases left out.
    """
    _example_modules()
    from true_effects import contigs
    from truth import encode

    data, length = EXAMPLE / "data", WideExample.input_shape[0]
    genome = contigs(data / "genome.fa")
    contig, start = (data / "regions.bed").read_text().split()[:2]
    if n == 1:
        chosen = [encode(genome[contig][int(start) : int(start) + length])]
    else:
        tiles = [c[i : i + length] for c in genome.values() for i in range(0, len(c) - length, length)]
        known = [tile for tile in tiles if set(tile) <= set("ACGT")]
        chosen = [encode(known[i]) for i in np.linspace(0, len(known) - 1, n).round().astype(int)]
    return np.eye(4, dtype=np.float32)[np.stack(chosen)]


def _example_modules() -> None:
    """Let the example's scripts and its model be imported."""
    for folder in (EXAMPLE, EXAMPLE / "model"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--sequences", type=int, default=N_SEQUENCES)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(argv)
    _example_modules()
    from evaluate import evaluate
    from train import train

    begin = time.perf_counter()
    network = train(options.seed, options.sequences, WideExample, LEARNING_RATE)
    print(f"trained in {time.perf_counter() - begin:.0f} s, {torch.get_num_threads()} threads")
    options.weights.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), options.weights)
    random = np.random.RandomState(options.seed + 2)
    figures = evaluate(network, random, network.input_shape[0], n_mutated=20)
    figures = {name: value for name, value in figures.items() if name.startswith("correlation")}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
