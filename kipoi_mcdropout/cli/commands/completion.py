"""`kipoi mcdropout completion`: a script with which a shell completes commands and options."""

from __future__ import annotations

import argparse

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Print a script with which the shell completes commands, options and names of files at a press of TAB.
Bash completes `mcdropout ...` and `kipoi mcdropout ...`, the other shells `mcdropout ...`. To have it in
every new bash:

  mcdropout completion bash > ~/.mcdropout_completion
  echo '. ~/.mcdropout_completion' >> ~/.bashrc

Make the script again after an update."""
SHELLS = ("bash", "zsh", "fish")


def get_parser(prog: str = "kipoi mcdropout completion") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} bash")
    parser.add_argument(
        "shell", metavar="SHELL", choices=SHELLS, help=f"shell of the script: {', '.join(SHELLS)}"
    )
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout completion") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli import COMMANDS
    from kipoi_mcdropout.cli.completion_script import completion_script
    from kipoi_mcdropout.files.standard_output import results

    print(completion_script(options.shell, COMMANDS), end="", file=results())
    return EXIT_OK
