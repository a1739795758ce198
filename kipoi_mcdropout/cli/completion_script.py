"""A script that makes a shell complete the commands and their options, made from the parsers.

The script is static: a press of TAB starts no Python. It is written by the package shtab.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping

import shtab

PROGRAM = "mcdropout"
# Bash can also complete `kipoi mcdropout ...`: all words but the first are those of the program. What
# stands after another word of Kipoi is left to bash, which completes the names of files.
_UNDER_KIPOI = """
_kipoi_mcdropout() {
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    [[ mcdropout == "${COMP_WORDS[1]}"* ]] && COMPREPLY=(mcdropout)
  elif [[ ${COMP_WORDS[1]} == mcdropout ]]; then
    COMP_WORDS=("${COMP_WORDS[@]:1}")
    COMP_CWORD=$((COMP_CWORD - 1))
    _shtab_mcdropout
  fi
}

complete -o default -o bashdefault -F _kipoi_mcdropout kipoi
"""


def completion_script(shell: str, commands: Mapping[str, str]) -> str:
    """The text of the script.

    Parameters
    ----------
    shell : str
        bash, zsh or fish.
    commands : mapping
        Name of each command and what it does.
    """
    text = shtab.complete(_whole_parser(commands), shell=shell)
    return f"{text}\n{_UNDER_KIPOI}" if shell == "bash" else f"{text}\n"


def _whole_parser(commands: Mapping[str, str]) -> argparse.ArgumentParser:
    """One parser with the parser of each command below it."""
    parser = argparse.ArgumentParser(PROGRAM, description="Variant effects with uncertainty.")
    parser.add_argument("--version", action="version", version="", help="print the versions")
    below = parser.add_subparsers(dest="command", parser_class=argparse.ArgumentParser)
    for name, text in commands.items():
        module = importlib.import_module(f"kipoi_mcdropout.cli.commands.{name}")
        own = module.get_parser(f"{PROGRAM} {name}")
        _complete_files(own)
        below.add_parser(name, parents=[own], add_help=False, help=text, description=text)
    return parser


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Let the shell offer files wherever a value is neither a number nor one of a few words."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                _complete_files(own)
        elif action.nargs != 0 and action.choices is None and action.type not in (int, float):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
