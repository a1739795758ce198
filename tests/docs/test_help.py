"""`--help` of every command is complete, and its example is one that the command takes."""

from __future__ import annotations

import argparse
import importlib
import shlex

import pytest

from kipoi_mcdropout.cli import COMMANDS


def _parser(command: str) -> argparse.ArgumentParser:
    return importlib.import_module(f"kipoi_mcdropout.cli.{command}").get_parser()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help(command: str) -> None:
    without = [
        action.option_strings or action.dest
        for action in _parser(command)._actions
        if action.help != argparse.SUPPRESS and len((action.help or "").strip()) < 5
    ]
    assert not without


@pytest.mark.parametrize("command", COMMANDS)
def test_help_can_be_printed(command: str) -> None:
    """A stray % in a help text raises only here."""
    text = _parser(command).format_help()
    assert "example:" in text
    assert len(_parser(command).description or "") > 60


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_is_parsed(command: str) -> None:
    parser = _parser(command)
    lines = (parser.epilog or "").replace("\\\n", " ").splitlines()
    examples = [line.strip() for line in lines if line.strip().startswith("kipoi ")]
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[:3] == ["kipoi", "mcdropout", command]
        assert parser.parse_args(words[3:]) is not None


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    from kipoi_mcdropout.cli import cli_main

    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", ["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for name, text in COMMANDS.items():
        assert name in shown
        assert text in shown
