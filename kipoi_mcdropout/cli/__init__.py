"""The command line: `mcdropout COMMAND`, `kipoi mcdropout COMMAND`, and our methods under Kipoi's.

Each command is a module of its own with `get_parser()` and `main(args)`, loaded when it is called.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Callable, Sequence

from kipoi_mcdropout.cli.messages import show_traceback, warnings_as_lines
from kipoi_mcdropout.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILURE,
    EXIT_PIPE_CLOSED,
    EXIT_SIGNAL,
    WRONG_PATH,
    McDropoutError,
    ModelForwardError,
    UnitFailedError,
    kept_words,
)
from kipoi_mcdropout.files.standard_output import flush, reserve
from kipoi_mcdropout.runs.interrupt import interrupts, signal_that_came

COMMANDS = {
    "ism": "effect and uncertainty of every single substitution of sequences",
    "predict": "predictions with uncertainty, no mutation",
    "init": "a new project folder; or a file that says what a model is",
    "audit": "print every dropout site of a model and whether it can be locked",
    "score_variants": "effect and uncertainty of the variants in a VCF",
    "merge": "join the shards of a run into its outputs",
    "sample_regions": "sample windows of a genome, half on peaks and half away from all peaks",
    "mr": "Mendelian randomization: slope of one output on another",
    "export_mr": "write the data of a Mendelian randomization for the R packages",
    "report": "one HTML file that shows a result, its plots and its warnings",
    "tracks": "tracks for genome browsers, or the input of motif discovery",
    "multiqc": "a summary of a run for MultiQC: alleles, draws, warnings",
    "plot": "a figure of a result: png, svg or pdf",
    "background": "effects of random substitutions that should mean nothing, to compare with",
    "significance": "p-values, percentiles and q-values of a result against a background",
    "calibrate": "compare predicted effects and their sd with measured effects",
    "intervals": "add calibrated intervals and the sign's probability to a result",
    "shrink": "add shrunken effects and the local false sign rate to a result",
    "evaluate": "do predicted effects agree with measured ones, and does the sd help",
    "completion": "print a script with which bash, zsh or fish completes commands and options",
}


def cli_main(_command: str, raw_args: Sequence[str]) -> None:
    """Entry point of `kipoi mcdropout`; Kipoi calls it with command "mcdropout"."""
    _dispatch("kipoi mcdropout", raw_args)


def program(raw_args: Sequence[str] | None = None) -> None:
    """Entry point of the program `mcdropout`, which starts without Kipoi and loads it where needed."""
    _dispatch("mcdropout", sys.argv[1:] if raw_args is None else raw_args)


def _dispatch(prog: str, raw_args: Sequence[str]) -> None:
    args = _parser(prog).parse_args(list(raw_args[:1]))
    run(args.command, f"{prog} {args.command}", list(raw_args[1:]))


def interpret_ism(_command: str, raw_args: Sequence[str]) -> None:
    """Entry point of `kipoi interpret ism --method mcdropout_ism`."""
    run("ism", "kipoi interpret ism", list(raw_args))


def interpret_feature_importance(_command: str, raw_args: Sequence[str]) -> None:
    """Entry point of `kipoi interpret feature_importance --imp_score mcdropout_ism`."""
    run("ism", "kipoi interpret feature_importance", list(raw_args))


def run(command: str, prog: str, args: list[str]) -> None:
    """Run a command and exit with its code, if that is not 0."""
    module = importlib.import_module(f"kipoi_mcdropout.cli.commands.{command}")
    with reserve():
        code = _exit_code(module.main, args, prog)
    if code:
        sys.exit(code)


def _exit_code(main: Callable[[list[str], str], int], args: list[str], prog: str) -> int:
    """Exit code of a command; an error becomes one line on stderr."""
    try:
        with interrupts(), warnings_as_lines():
            code = main(args, prog)
        flush()
        return code
    except (McDropoutError, ModelForwardError) as error:
        return _report(prog, str(error), EXIT_BAD_INPUT)
    except BrokenPipeError:
        return EXIT_PIPE_CLOSED
    except WRONG_PATH as error:
        return _report(prog, f"{_path_words(error)}. {kept_words(error)}", EXIT_BAD_INPUT)
    except (OSError, UnitFailedError) as error:  # such as a full disk
        return _report(prog, f"{error}. {kept_words(error)}", EXIT_FAILURE)
    except MemoryError as error:
        words = f"there is not enough memory ({error})" if str(error) else "the memory is not enough"
        return _report(prog, f"{words}. {kept_words(error)}", EXIT_FAILURE)
    except KeyboardInterrupt as error:
        number = signal_that_came()
        what = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
        return _report(prog, f"{what}. {kept_words(error)}", EXIT_SIGNAL + number)


def _path_words(error: OSError) -> str:
    """What is wrong with a path that was given."""
    if error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}; check the path"


def _report(prog: str, message: str, code: int) -> int:
    show_traceback()
    print(f"{prog}: error: {message}", file=sys.stderr)
    return code


def _parser(prog: str) -> argparse.ArgumentParser:
    listing = "\n".join(f"  {name:<16}{text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} COMMAND [-h] ...",
        description="Variant effects with uncertainty by locked Monte Carlo dropout.\n\n"
        f"commands:\n{listing}\n\n`{prog} COMMAND -h` explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help="see above")
    return parser


def _version() -> str:
    """Version of this package, and those of the packages that its results depend on."""
    from kipoi_mcdropout.model.versions import package_versions

    versions = package_versions()
    own = versions.pop("kipoi-mcdropout")
    return f"kipoi_mcdropout {own} ({', '.join(map(' '.join, versions.items()))})"
