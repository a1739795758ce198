"""The directive `command-line`: every command's reference, from the parser that the command itself uses."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from kipoi_mcdropout.cli import COMMANDS


class CommandLine(SphinxDirective):
    """A section per command: description, usage, options, example."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        return [_section(name) for name in COMMANDS]


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser that `kipoi mcdropout COMMAND` parses with."""
    module = importlib.import_module(f"kipoi_mcdropout.cli.{command}")
    return module.get_parser(f"kipoi mcdropout {command}")


def options_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Title and options of each group that has any, in the parser's order."""
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.help != argparse.SUPPRESS]
        if actions:
            yield group.title or "", actions


def signature(action: argparse.Action) -> str:
    """How an option is written, e.g. `-o FILE [FILE ...], --output FILE [FILE ...]`."""
    return argparse.HelpFormatter("", width=10_000)._format_action_invocation(action)


def _section(command: str) -> nodes.section:
    parser = parser_of(command)
    section = nodes.section(ids=[f"kipoi-mcdropout-{command.replace('_', '-')}"])
    section += nodes.title("", "", nodes.literal(text=parser.prog))
    section += nodes.paragraph(text=f"{COMMANDS[command]}.")
    for paragraph in (parser.description or "").split("\n\n"):
        section += nodes.paragraph(text=" ".join(paragraph.split()))
    section += nodes.literal_block(text=parser.format_usage().removeprefix("usage: "), language="text")
    for title, actions in options_of(parser):
        section += nodes.rubric(text=title)
        section += _definitions(parser, actions)
    section += nodes.literal_block(text=parser.epilog or "", language="text")
    return section


def _definitions(parser: argparse.ArgumentParser, actions: list[argparse.Action]) -> nodes.Node:
    formatter = parser._get_formatter()
    items = nodes.definition_list()
    for action in actions:
        term = nodes.term("", "", nodes.literal(text=signature(action)))
        text = formatter._expand_help(action) if action.help else ""
        items += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph(text=text)))
    return items


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True}
