"""`--help` of every command is complete, and its example is one that the command takes."""

from __future__ import annotations

import argparse
import importlib
import shlex

import pytest

from kipoi_mcdropout.cli import COMMANDS


def _parsers() -> dict[str, argparse.ArgumentParser]:
    """Parser of each command, and of each kind of a command that has kinds."""
    found = {}
    for command in COMMANDS:
        parser = importlib.import_module(f"kipoi_mcdropout.cli.commands.{command}").get_parser()
        found[command] = parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                assert {choice.dest for choice in action._choices_actions} == set(action.choices)
                found |= {f"{command} {kind}": own for kind, own in action.choices.items()}
    return found


PARSERS = _parsers()


@pytest.mark.parametrize("command", PARSERS)
def test_every_option_has_help(command: str) -> None:
    without = [
        action.option_strings or action.dest
        for action in PARSERS[command]._actions
        if action.help != argparse.SUPPRESS
        and not isinstance(action, argparse._SubParsersAction)
        and len((action.help or "").strip()) < 5
    ]
    assert not without


@pytest.mark.parametrize("command", PARSERS)
def test_options_stand_in_groups_and_name_their_defaults(command: str) -> None:
    parser = PARSERS[command]
    help_flag, *loose = [a for a in parser._optionals._group_actions if a.option_strings]
    assert help_flag.dest == "help"
    assert not loose, "every option has its group, in cli/parser.py"
    for action in parser._actions:
        riddles = {f"({action.default})", "(the usual)", "(its only one)", "(all)", "(the length)"}
        assert not any(riddle in (action.help or "") for riddle in riddles), action.help
    first = parser.format_usage().splitlines()[0]
    assert len(parser.format_usage()) < 200
    assert first.endswith("[option ...]")


@pytest.mark.parametrize("command", PARSERS)
def test_help_can_be_printed(command: str) -> None:
    """A stray % in a help text raises only here."""
    assert "example:" in PARSERS[command].format_help()
    assert len(PARSERS[command].description or "") > (10 if " " in command else 60)


@pytest.mark.parametrize("command", PARSERS)
def test_the_example_is_parsed(command: str) -> None:
    lines = (PARSERS[command].epilog or "").replace("\\\n", " ").splitlines()
    examples = [line.strip() for line in lines if line.strip().startswith("kipoi ")]
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert " ".join(words[1:]).startswith(f"mcdropout {command} ")
        assert PARSERS[words[2]].parse_args(words[3:]) is not None


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    from kipoi_mcdropout.cli import cli_main

    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", ["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for name, text in COMMANDS.items():
        assert name in shown
        assert text in shown
