"""Simulate the example's data and train its model.

python example/train.py              writes the data and example/model/weights.pt
python example/train.py --data_only  writes the data
python example/train.py --members 5  trains 4 more networks on other sequences: example/members/*.pt

One seed decides everything. The data are the same bytes everywhere; the weights are the same on
one machine, and nearly so on others, as floating point sums go.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from evaluate import evaluate, one_hot
from files import write_data
from simulate import N_SITES_PROBABILITY, training_sequences
from torch import nn
from truth import true_logits_of_codes

HERE = Path(__file__).resolve().parent
SEED = 4
N_SEQUENCES = 240_000
BATCH = 32
CHUNK = 2_048  # sequences simulated at a time
LEARNING_RATE = 2e-3

# To find a motif in half a kilobase is slow at first. The first part of training has sequences
# with either none or nine sites of a factor, and begins without dropout: this finds all motifs
# within minutes.
CROWDED_SITES_PROBABILITY = (0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0.5)
CROWDED_SHARE = 0.15
WITHOUT_DROPOUT_SHARE = 0.10


def load_model_module() -> ModuleType:
    """example/model/model.py, which Kipoi loads by its path, too."""
    spec = importlib.util.spec_from_file_location("example_model", HERE / "model" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(
    seed: int,
    n_sequences: int = N_SEQUENCES,
    make: Callable[[], Any] | None = None,
    learning_rate: float = LEARNING_RATE,
) -> Any:
    """Train on sequences that are each seen once, with the true probabilities as targets.

    Parameters
    ----------
    make : callable, optional
        Makes the network, with random weights; by default the example's.

    Returns
    -------
    torch.nn.Module
        The network, in evaluation mode.
    """
    torch.manual_seed(seed)
    random = np.random.RandomState(seed + 1)
    module = load_model_module()
    network = (make or module.ExampleModel)()
    n_steps = n_sequences // BATCH
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=n_steps, pct_start=0.1
    )
    loss_function = nn.BCEWithLogitsLoss()
    step = 0
    while step < n_steps:
        crowded = step < CROWDED_SHARE * n_steps
        probability = CROWDED_SITES_PROBABILITY if crowded else N_SITES_PROBABILITY
        codes = training_sequences(random, CHUNK, module.LENGTH_BP, probability)
        target = torch.sigmoid(torch.from_numpy(true_logits_of_codes(codes))).float()
        for first in range(0, min(CHUNK, (n_steps - step) * BATCH), BATCH):
            network.train(step >= WITHOUT_DROPOUT_SHARE * n_steps)
            rows = slice(first, first + BATCH)
            loss = loss_function(network.logits(one_hot(codes[rows])), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
        print(f"\r{step}/{n_steps} steps, loss {loss.item():.3f}", end="", flush=True)
    print()
    return network.eval()


def train_members(seed: int, n_members: int) -> None:
    """The networks 2 to n of an ensemble: other first weights, and other training sequences."""
    _as_everywhere()
    folder = HERE / "members"
    folder.mkdir(exist_ok=True)
    for number in range(2, n_members + 1):
        network = train(seed + 1000 * (number - 1))  # far apart: `train` takes the next seed too
        torch.save(network.state_dict(), folder / f"weights_{number}.pt")


def _as_everywhere() -> None:
    # One thread: the sums do not depend on the number of cores, and small steps gain nothing.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def main() -> None:
    """Write the data, train, evaluate, write weights and figures."""
    parser = argparse.ArgumentParser(description="Simulate the example's data, train its model.")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--data_only", action="store_true", help="do not train")
    parser.add_argument(
        "--members",
        type=int,
        default=1,
        metavar="N",
        help="train the networks 2 to N of an ensemble; the first is the model itself",
    )
    args = parser.parse_args()
    if args.members > 1:
        train_members(args.seed, args.members)
        return
    for name, checksum in write_data(HERE, args.seed).items():
        print(f"{checksum}  {name}")
    if args.data_only:
        return
    _as_everywhere()
    start, start_cpu = time.perf_counter(), time.process_time()
    network = train(args.seed)
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    print(f"trained in {wall:.0f} s, of which {cpu:.0f} s of processor time")
    torch.save(network.state_dict(), HERE / "model" / "weights.pt")
    length = load_model_module().LENGTH_BP
    figures = evaluate(network, np.random.RandomState(args.seed + 2), length)
    text = json.dumps(figures, indent=1) + "\n"
    (HERE / "data" / "evaluation.json").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
