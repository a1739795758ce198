"""The score is registered whichever of the packages is imported first, without a warning."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kipoi_mcdropout

FIRST = {
    "ours": "from kipoi_mcdropout import MCDropoutISM",
    "its module": "import kipoi_mcdropout.plugin.mutation",
    "kipoi": "import kipoi\nfrom kipoi_mcdropout import MCDropoutISM",
    "kipoi_interpret": "import kipoi_interpret.importance_scores.ism",
}


@pytest.mark.parametrize("first", list(FIRST))
def test_the_method_is_there(first: str) -> None:
    code = f"""
from kipoi_mcdropout.plugin.hook import register
register()
{FIRST[first]}
from kipoi_interpret.importance_scores.ism import METHODS
from kipoi_mcdropout import MCDropoutISM
assert METHODS["mcdropout_ism"] is MCDropoutISM
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not registered" not in done.stderr


def test_audit_is_the_function_whatever_was_imported() -> None:
    code = """
import kipoi_mcdropout
from kipoi_mcdropout import audit as first
import kipoi_mcdropout.cli.commands.audit
from kipoi_mcdropout import audit as second
assert callable(first) and first is second
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", kipoi_mcdropout.__all__)
def test_every_public_name_is_where_the_package_looks_for_it(name: str) -> None:
    assert name in vars(kipoi_mcdropout) or kipoi_mcdropout.__getattr__(name) is not None
