"""The directive `command-line`: every command's reference, from the parser that it uses itself."""

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
        return [_section(parser_of(name)) for name in COMMANDS]


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser that `kipoi mcdropout COMMAND` parses with."""
    module = importlib.import_module(f"kipoi_mcdropout.cli.commands.{command}")
    return module.get_parser(f"kipoi mcdropout {command}")


def options_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Title and options of each group that has any, in the parser's order."""
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if _is_shown(a)]
        if actions:
            yield group.title or "", actions


def _is_shown(action: argparse.Action) -> bool:
    return action.help != argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction)


def signature(action: argparse.Action) -> str:
    """How an option is written, e.g. `-o FILE [FILE ...], --output FILE [FILE ...]`."""
    return argparse.HelpFormatter("", width=10_000)._format_action_invocation(action)


def kinds_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Parsers of the words that a command takes first, if any, such as the kinds of plots."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _section(parser: argparse.ArgumentParser) -> nodes.section:
    section = nodes.section(ids=[parser.prog.replace(" ", "-").replace("_", "-")])
    section += nodes.title("", "", nodes.literal(text=parser.prog))
    for paragraph in (parser.description or "").split("\n\n"):
        section += nodes.paragraph(text=" ".join(paragraph.split()))
    section += nodes.literal_block(text=parser.format_usage().removeprefix("usage: "), language="text")
    for title, actions in options_of(parser):
        section += nodes.rubric(text=title)
        section += _definitions(parser, actions)
    section += nodes.literal_block(text=parser.epilog or "", language="text")
    for kind in kinds_of(parser).values():
        section += _section(kind)
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
