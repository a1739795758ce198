"""Tables of measured effects, as people write them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.measured import read_measured


def test_columns_are_read_with_their_types_and_others_passed_over(tmp_path: Path) -> None:
    text = "# of the lab\nvariant\tassay\teffect\tse\n1:5:A:C\tNA\t 0.5 \t1e-2\n\n#2:7:G:T\tx\t-3\t0\n"
    for name, data in (("a.tsv", text.encode()), ("a.tsv.gz", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(data)
        table = read_measured(tmp_path / name)
        assert table["variant"].tolist() == ["1:5:A:C", "#2:7:G:T"]
        assert table["effect"].tolist() == [0.5, -3.0]
        assert table["se"].tolist() == [0.01, 0.0]
        assert list(table) == ["variant", "effect", "se"]


def test_a_header_may_begin_with_a_hash(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("#variant\teffect\nNA\t1\n")
    table = read_measured(tmp_path / "a.tsv")
    assert table["variant"].tolist() == ["NA"]
    assert table["effect"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("0,35", "line 3: '0,35' has a decimal comma: write 0.35"),
        ("n.d.", "line 3: 'n.d.' is not a number"),
        ("<0.01", "line 3: '<0.01' is a limit and not a measurement"),
        ("", "line 3: '' is missing"),
        ("NaN", "line 3: 'NaN' is not a number"),
        ("inf", "line 3: 'inf' is not a number"),
        ("1_000", "line 3: '1_000' is not a number"),
        ("1,000,000", "line 3: '1,000,000' is not a number"),
    ],
)
def test_what_is_no_number_is_named_with_its_line(tmp_path: Path, field: str, words: str) -> None:
    (tmp_path / "a.tsv").write_text(f"variant\teffect\na\t0.1\nb\t{field}\n")
    with pytest.raises(InputError, match="1 values of the column effect are not numbers") as caught:
        read_measured(tmp_path / "a.tsv")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"v{i}\t0.1\t0,{i}\n" for i in range(9))
    (tmp_path / "a.tsv").write_text("variant\teffect\tse\n" + rows)
    with pytest.raises(InputError, match=r"9 values of the column se .* line 2: .*and 6 more"):
        read_measured(tmp_path / "a.tsv")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"variant,effect\na,1\n", "lacks variant, effect and has variant,effect"),
        (b"variant\teffect\na\t1\nb\n", "line 3 has 1 fields; the header has 2"),
        (b"", "has nothing"),
        (b"\x89HDF\xff\xfe", "cannot be read"),
        (None, "there is no file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes | None, words: str) -> None:
    if data is not None:
        (tmp_path / "a.tsv").write_bytes(data)
    with pytest.raises(InputError, match=words):
        read_measured(tmp_path / "a.tsv")
