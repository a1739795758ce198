"""What is added to Kipoi's tables. Each function takes the executed module and may be run twice."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from kipoi_mcdropout.plugin import commands
from kipoi_mcdropout.plugin.manifest import load_manifest, load_object

Command = Callable[[str, list[str]], None]
WHEN_LOADED = "_when_loaded"  # name in a module: what to call at its end


def add_plugin(kipoi_plugin: ModuleType) -> None:
    """Add the plugin to `kipoi.plugin.PLUGINS`: `kipoi list_plugins` and `kipoi mcdropout`."""
    manifest = load_manifest()
    # Kipoi's command line asks every plugin for this, and would stop at one that lacks it.
    load_object(f"{manifest.module}:cli_main")
    row = {
        "plugin": manifest.name,
        "url": manifest.url,
        "cli": True,
        "description": manifest.description,
    }
    others = [plugin for plugin in kipoi_plugin.PLUGINS if plugin["plugin"] != manifest.name]
    kipoi_plugin.PLUGINS[:] = [*others, row]


def add_methods(ism: ModuleType) -> None:
    """Add the importance scores to `kipoi_interpret.importance_scores.ism.METHODS`.

    Where the module of a score is itself what imports `ism`, it is half loaded by now and has no score
    yet; it is then asked to call back when it is whole (`WHEN_LOADED`).
    """
    for method in load_manifest().methods:
        add = partial(_add_method, ism, method.name, method.class_path)
        home = sys.modules.get(method.class_path.partition(":")[0])
        if getattr(getattr(home, "__spec__", None), "_initializing", False):
            vars(home).setdefault(WHEN_LOADED, []).append(add)
        else:
            add()


def _add_method(ism: ModuleType, name: str, class_path: str) -> None:
    ism.METHODS[name] = load_object(class_path)


def add_commands(cli: Any) -> None:
    """Put ours before or beside the commands of `kipoi interpret`, and name all in its help."""
    manifest = load_manifest()
    methods = tuple(method.name for method in manifest.methods)
    for command in manifest.interpret_commands:
        original: Command | None = cli.command_functions.get(command.name)
        if isinstance(original, commands.InterpretCommand):
            original = original.original
        cli.command_functions[command.name] = commands.InterpretCommand(
            command.function_path, methods, original
        )
    cli.commands_str = ", ".join(cli.command_functions)
    cli.parser = _help_parser(list(cli.command_functions), cli.commands_str)


def _help_parser(names: list[str], commands_str: str) -> argparse.ArgumentParser:
    """Parser of the word after `kipoi interpret`, as kipoi_interpret has it, listing `names`."""
    summaries = {name: commands.SUMMARIES.get(name, "") for name in names}
    lines = "\n".join(f"    {name:<21} {summary}" for name, summary in summaries.items())
    parser = argparse.ArgumentParser(
        description="Compute feature importance scores",
        usage=f"kipoi interpret <command> [-h] ...\n\n    # Available sub-commands:\n{lines}\n    ",
    )
    parser.add_argument("command", help=f"Subcommand to run; possible commands: {commands_str}")
    return parser
