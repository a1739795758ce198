"""Commands under `kipoi interpret` that choose the program for the scores by --method.

`--method mcdropout_ism` is ours. `kipoi interpret ism --method mutation`, or without --method, is
kipoi_interpret's own command, called as if this package were not there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kipoi_mcdropout.errors import EXIT_BAD_INPUT
from kipoi_mcdropout.plugin.manifest import load_object

ORIGINAL_METHOD = "mutation"
SUMMARIES = {
    "grad": "Save gradients",
    "deeplift": "Compute DeepLIFT scores",
    "ism": "In-silico mutagenesis; --method mcdropout_ism adds the model's uncertainty",
    "feature_importance": "Compute the feature importance; needs --method mcdropout_ism",
}
_FLAGS = {"ism": ("--method",), "feature_importance": ("--method", "--imp_score")}


@dataclass(frozen=True)
class InterpretCommand:
    """A command of `kipoi interpret`: ours for our methods, the original for anything else."""

    function_path: str  # "module:function", loaded when our method is asked for
    methods: tuple[str, ...]
    original: Callable[[str, list[str]], None] | None = None  # None: kipoi_interpret has none

    def __call__(self, command: str, raw_args: list[str]) -> None:
        """Run `kipoi interpret {command} {raw_args}`; exits with code 2 on an unknown method."""
        method, other_args = split_method(raw_args, _FLAGS[command])
        wants_help = not {"-h", "--help"}.isdisjoint(raw_args)
        if method in self.methods or (self.original is None and wants_help):
            load_object(self.function_path)(command, list(raw_args))
        elif self.original is None:
            _refuse(command, method, self.methods)
        elif method in (None, ORIGINAL_METHOD):
            if wants_help:
                print(
                    f"With uncertainty: kipoi interpret {command} --method {self.methods[0]} "
                    "(add -h for its options). Without --method:\n"
                )
            self.original(command, other_args)
        else:
            _refuse(command, method, (ORIGINAL_METHOD, *self.methods))


def split_method(raw_args: Sequence[str], flags: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the last value of any of `flags`, or None, and the arguments without flags and values.

    >>> split_method(["model", "--method", "mutation", "--source=dir"], ["--method"])
    ('mutation', ['model', '--source=dir'])
    """
    method: str | None = None
    others: list[str] = []
    remaining = iter(raw_args)
    for argument in remaining:
        flag, equals, value = argument.partition("=")
        if flag not in flags:
            others.append(argument)
        elif equals:
            method = value
        else:
            method = next(remaining, "")
    return method, others


def _refuse(command: str, method: str | None, known: Sequence[str]) -> None:
    """Say which methods there are and exit with the code of bad arguments."""
    got = "no method" if method is None else f"the method {method!r}"
    print(
        f"kipoi interpret {command}: {' or '.join(_FLAGS[command])} must be one of "
        f"{', '.join(known)}; got {got}. Gradients and DeepLIFT are computed by "
        "`kipoi interpret grad` and `kipoi interpret deeplift`, in-silico mutagenesis without dropout "
        "by our method with `--n_draws 0`.",
        file=sys.stderr,
    )
    sys.exit(EXIT_BAD_INPUT)
