"""Fields of text tables are what a reader of csv expects."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from kipoi_mcdropout.files.table import _lines
from kipoi_mcdropout.files.text_fields import quoted
from kipoi_mcdropout.vcf.read.alleles import Skip
from kipoi_mcdropout.vcf.write.ledger import SKIPPED_COLUMNS, skipped_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(TEXT, min_size=1, max_size=3))
def test_a_reader_of_csv_gets_the_texts_back_from_both_writers(texts: list[str]) -> None:
    line = "\t".join(map(quoted, texts)) + "\n"
    assert next(csv.reader(io.StringIO(line, newline=""), delimiter="\t")) == texts
    assert bytes(_lines([pa.array([text]) for text in texts])).decode() == line


def test_the_table_of_skipped_alleles_keeps_an_id_with_quotes() -> None:
    record: Any = SimpleNamespace(contig="1", pos=5, id='"x#', ref="A", alts=["C", "<DEL>"], line=9)
    skip = Skip("symbolic", 'no "sequence"')
    text = "\t".join(SKIPPED_COLUMNS) + "\n" + skipped_rows(record, [skip, skip])
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    assert [row["id"] for row in rows] == ['"x#'] * 2
    assert [row["alt"] for row in rows] == ["C", "<DEL>"]
    assert rows[0]["detail"] == 'no "sequence"'


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert quoted(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\ufffd"
