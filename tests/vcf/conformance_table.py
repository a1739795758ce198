"""The outcome for each file of a collection of valid and invalid VCFs, as a Markdown table.

python tests/vcf/conformance_table.py FOLDER docs/vcf.md

FOLDER has the folders `valid` and `invalid` (EBIvariation/vcf-validator, test/input_files/v4.2). What
follows the marker in the second file is replaced.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kipoi_mcdropout.errors import InputError, InputWarning

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for variant_world, when run as a script

from variant_call import score_variants
from variant_world import LENGTH, random_sequence, tiny_net, write_fasta


class OutcomeOfFile(NamedTuple):
    """What became of one file."""

    folder: str
    name: str
    error: str  # "" where it was read
    records: int = 0
    scored: int = 0
    skipped: str = ""

    def words(self) -> str:
        if self.error:
            return f"error: {self.error}"
        return f"read: {self.records} records, {self.scored} scored, skipped: {self.skipped or 'none'}"


def outcomes(folder: Path, scratch: Path) -> Iterator[OutcomeOfFile]:
    """Score every file on a genome that none of them describes."""
    fasta = write_fasta(scratch / "g.fa", {"1": random_sequence(200_000, 1), "X": "ACGT" * 500})
    net = tiny_net()
    for kind in ("valid", "invalid"):
        for path in sorted((folder / kind).glob("*.vcf")):
            yield outcome(kind, path, fasta, net, scratch)


def outcome(kind: str, path: Path, fasta: Path, net: object, scratch: Path) -> OutcomeOfFile:
    output = scratch / "out.vcf"
    output.unlink(missing_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            run = score_variants(
                net, path, fasta, output, n_draws=2, length=LENGTH, category_axis=0, targets=["0"],
                ref_mismatch="skip",
            )  # fmt: skip
    except InputError as error:
        assert not output.exists()
        return OutcomeOfFile(kind, path.name, str(error).replace(str(path), path.name))
    ledger = run.ledger
    skipped = ", ".join(f"{reason} {n}" for reason, n in sorted(ledger.skipped.items()))
    return OutcomeOfFile(kind, path.name, "", ledger.records, ledger.scored, skipped)


MARKER = "<!-- what follows is made by tests/vcf/conformance_table.py -->\n"


def table(rows: list[OutcomeOfFile]) -> str:
    counts = Counter((row.folder, "refused" if row.error else "read") for row in rows)
    lines = [""]
    lines += [f"- {folder}, {what}: {n}" for (folder, what), n in sorted(counts.items(), reverse=True)]
    lines += ["", "| folder | file | outcome |", "|---|---|---|"]
    for row in rows:
        text = row.words().replace("|", "\\|").replace("\t", " ").replace("\\t", " ")
        lines.append(f"| {row.folder} | {row.name} | {text[:180]} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        rows = list(outcomes(Path(sys.argv[1]), Path(scratch)))
    document = Path(sys.argv[2])
    before = document.read_text().partition(MARKER)[0]
    document.write_text(before + MARKER + table(rows))


if __name__ == "__main__":
    main()
