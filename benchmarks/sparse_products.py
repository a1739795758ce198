"""Where sparse products pay: rows times weights, dense, and of the numbers alone that are not zero.

    OMP_NUM_THREADS=1 python benchmarks/sparse_products.py

`find` is the time to find the numbers that are not zero, in dense products with one layer of weights: a
convolution multiplies the same rows by each of its taps, and finds them once. The constants of
engine/incremental/few_channels.py were chosen by this table. After it, ways to look for zeros, as in
engine/incremental/zeros.py.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

import torch

from kipoi_mcdropout.engine.incremental.few_channels import FewChannels, pays
from kipoi_mcdropout.engine.incremental.zeros import any_not_zero, true_at

SIZES = ((8000, 64, 96), (4000, 320, 480), (2000, 480, 960), (4000, 960, 925))  # rows, in, out
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3)


def milliseconds(function: Callable[[], object], n: int = 5) -> float:
    """The best of three runs."""
    function()
    return 1e3 * min(timeit.repeat(function, number=n, repeat=3)) / n


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    head = f"{'rows':>6}{'in':>5}{'out':>5}{'differ':>8}{'dense, ms':>11}{'gain':>7}{'find':>7}"
    print(f"{head}  pays, 1 and 7 taps")
    for rows, n_in, n_out in SIZES:
        weight = torch.rand(n_in, n_out, generator=generator)
        for share in SHARES:
            x = torch.rand(rows, n_in, generator=generator)
            x = x * (torch.rand(rows, n_in, generator=generator) < share)
            few = FewChannels.at(x, x != 0)
            dense = milliseconds(lambda: x @ weight)  # noqa: B023
            product = milliseconds(lambda: few.times(weight))  # noqa: B023
            find = milliseconds(lambda: FewChannels.at(x, x != 0))  # noqa: B023
            chosen = [pays(share, n_out * taps) for taps in (1, 7)]
            print(
                f"{rows:6}{n_in:5}{n_out:5}{share:8.2f}{dense:11.2f}{dense / product:7.1f}"
                f"{find / dense:7.2f}  {chosen[0]}, {chosen[1]}",
                flush=True,
            )
    print("\nlooking for zeros, ms")
    for shape in ((260, 480), (16, 1500, 925)):
        x = torch.rand(shape, generator=generator)
        differs = x < 0.2
        ways: dict[str, Callable[[], object]] = {
            "any of a row, torch.any": lambda: (x != 0).any(dim=-1),  # noqa: B023
            "any of a row, by the sum of absolute values": lambda: any_not_zero(x),  # noqa: B023
            "numbers of what is true, torch.nonzero": lambda: differs.flatten().nonzero(),  # noqa: B023
            "numbers of what is true, numpy.flatnonzero": lambda: true_at(differs),  # noqa: B023
        }
        for name, way in ways.items():
            print(f"{shape!s:>16}  {name:46}{milliseconds(way):9.3f}", flush=True)


if __name__ == "__main__":
    main()
