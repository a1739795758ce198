"""The command line: `kipoi mcdropout COMMAND`, and our methods under `kipoi interpret`.

Each command is a module of its own with `get_parser()` and `main(args)`, loaded when it is called.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from kipoi_mcdropout.cli.interrupt import interrupts, signal_that_came
from kipoi_mcdropout.cli.messages import show_traceback, warnings_as_lines
from kipoi_mcdropout.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILURE,
    EXIT_PIPE_CLOSED,
    EXIT_SIGNAL,
    McDropoutError,
    ModelForwardError,
    UnitFailedError,
    kept_words,
)

COMMANDS = {
    "ism": "effect and uncertainty of every single substitution of sequences",
    "predict": "predictions with uncertainty, no mutation",
    "audit": "print every dropout site of a model and whether it can be locked",
    "score_variants": "effect and uncertainty of the variants in a VCF",
    "merge": "join the shards of a run into its outputs",
    "sample_regions": "windows of a genome, half on peaks and half away from any",
    "mr": "Mendelian randomization: slope of one output on another",
    "export_mr": "the same data for the R packages",
    "report": "one HTML file that shows a result, its plots and its warnings",
    "plot": "a figure of a result: png, svg or pdf",
    "calibrate": "predicted effects and their sd against measured effects",
}


def cli_main(command: str, raw_args: Sequence[str]) -> None:
    """Entry point of `kipoi mcdropout`; Kipoi calls it with command "mcdropout"."""
    args = _parser().parse_args(list(raw_args[:1]))
    run(args.command, f"kipoi mcdropout {args.command}", list(raw_args[1:]))


def interpret_ism(command: str, raw_args: Sequence[str]) -> None:
    """Entry point of `kipoi interpret ism --method mcdropout_ism`."""
    run("ism", "kipoi interpret ism", list(raw_args))


def interpret_feature_importance(command: str, raw_args: Sequence[str]) -> None:
    """Entry point of `kipoi interpret feature_importance --imp_score mcdropout_ism`."""
    run("ism", "kipoi interpret feature_importance", list(raw_args))


def run(command: str, prog: str, args: list[str]) -> None:
    """Run a command and exit with its code; errors of the user's making become one line on stderr."""
    module = importlib.import_module(f"kipoi_mcdropout.cli.{command}")
    try:
        with interrupts(), warnings_as_lines():
            code = module.main(args, prog)
    except (McDropoutError, ModelForwardError) as error:
        code = _report(prog, str(error), EXIT_BAD_INPUT)
    except BrokenPipeError:
        _let_go_of_stdout()
        code = EXIT_PIPE_CLOSED
    except OSError as error:  # a full disk, a file that vanished
        code = _report(prog, f"{error}. {kept_words(error)}", EXIT_FAILURE)
    except UnitFailedError as error:
        code = _report(prog, f"{error}. {kept_words(error)}", EXIT_FAILURE)
    except KeyboardInterrupt as error:
        number = signal_that_came()
        what = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
        code = _report(prog, f"{what}. {kept_words(error)}", EXIT_SIGNAL + number)
    if code:
        sys.exit(code)


def _let_go_of_stdout() -> None:
    """Nobody reads any more: what Python still holds must go nowhere, without a complaint."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(prog: str, message: str, code: int) -> int:
    show_traceback()
    print(f"{prog}: error: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    listing = "\n".join(f"  {name:<16}{text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="kipoi mcdropout",
        usage="kipoi mcdropout COMMAND [-h] ...",
        description="Variant effects with uncertainty by locked Monte Carlo dropout.\n\n"
        f"commands:\n{listing}\n\nkipoi mcdropout COMMAND -h explains each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help="see above")
    return parser
