"""File names of labels: no two labels share one, none leaves the folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipoi_mcdropout.mr.export.file_names import safe_file_name

NAMES = ["a/b", "a_b", "a b", "a\tb", "a%2Fb", "..", ".", "", "%", "%2E", "/", "a\\b", "a\0b", "Ä" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_one_file_in_the_folder(name: str, tmp_path: Path) -> None:
    path = tmp_path / safe_file_name(name)
    path.mkdir()
    assert [p.name for p in tmp_path.iterdir()] == [safe_file_name(name)]


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_two_names_share_a_file(one: str, other: str) -> None:
    a, b = safe_file_name(one), safe_file_name(other)
    assert (a == b) == (one == other)
    assert "/" not in a
    assert not a.startswith(".")
    assert a.isascii()
    assert len(a) < 200
    if one and "%~" not in a:
        assert unquote(a, errors="surrogatepass") == one


def test_long_names_with_one_beginning_are_told_apart() -> None:
    assert safe_file_name("x" * 300) != safe_file_name("x" * 301)
    assert safe_file_name("x" * 150) == "x" * 150
