"""The script of `completion`, in a real bash at a terminal, by the key TAB."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from kipoi_mcdropout.cli import COMMANDS, run
from kipoi_mcdropout.cli.commands.completion import SHELLS

BASH = shutil.which("bash")
# The programs only print their words. The prompt is what the test waits for before it types.
START = """
bind 'set completion-ignore-case off' 'set enable-bracketed-paste off' 2>/dev/null
mcdropout() { printf '<%s>' "$@"; echo; }
kipoi() { printf '<%s>' kipoi "$@"; echo; }
. ./completion.sh
PS1='ready> '
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "completion.sh").write_text(script("bash"))
    (folder / "start.sh").write_text(START)
    (folder / "genome.fa").touch()
    (folder / "some folder").mkdir()
    return folder


def script(shell: str) -> str:

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        run("completion", "kipoi mcdropout completion", [shell])
    return text.getvalue()


def typed(keys: str, folder: Path) -> str:
    """What bash prints of a line that is typed at a terminal, in which a tab is the key TAB."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [str(BASH), "--noprofile", "--rcfile", "start.sh", "-i"],
        cwd=folder, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env={**os.environ, "TERM": "dumb", "HISTFILE": "", "INPUTRC": "/dev/null"},
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while b"ready> " not in seen:
        seen += os.read(master, 4096)
    os.write(master, f"{keys}\nexit\n".encode())
    try:
        while piece := os.read(master, 4096):
            seen += piece
    except OSError:  # Linux: the other end is closed
        pass
    os.close(master)
    process.wait()
    return seen.decode()


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("mcdropout score_v\t", "<score_variants>"),
        ("mcdropout ism net.py:Net --sched\t none", "<ism><net.py:Net><--scheduler><none>"),
        ("mcdropout ism m --unknown ze\t", "<ism><m><--unknown><zero>"),
        ("mcdropout plot vol\t t.tsv --dp\t 9", "<plot><volcano><t.tsv><--dpi><9>"),
        ("mcdropout ism m -f gen\t", "<ism><m><-f><genome.fa>"),
        ("mcdropout report some\tx", "<report><some folder/x>"),
        ("mcdropout completion zs\t", "<completion><zsh>"),
        ("kipoi mcd\t score_v\t m", "<kipoi><mcdropout><score_variants><m>"),
        ("kipoi mcdropout ism m --unknown ze\t", "<kipoi><mcdropout><ism><m><--unknown><zero>"),
        ("kipoi predict gen\t", "<kipoi><predict><genome.fa>"),  # Kipoi's own keep the names of files
    ],
)
def test_tab_completes(keys: str, words: str, folder: Path) -> None:
    assert words in typed(keys, folder)


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_two_tabs_list_all_commands(folder: Path) -> None:
    shown = typed("mcdropout \t\t\t", folder).split()
    assert set(COMMANDS) <= set(shown)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_the_script(shell: str) -> None:
    text = script(shell)
    for command in COMMANDS:
        assert command in text
        parser = importlib.import_module(f"kipoi_mcdropout.cli.commands.{command}").get_parser()
        long = [name[2:] for a in parser._actions for name in a.option_strings if name[:2] == "--"]
        assert all(name in text for name in long)
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=text, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
