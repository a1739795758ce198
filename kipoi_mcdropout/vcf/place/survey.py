"""Looks at all records before any is scored, to see whether the genome belongs to the VCF.

Where a VCF is held against another assembly, about a quarter of its single REF bases agree by chance. So
the share of REF that differ is looked at, for the whole VCF and for each contig.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.vcf.place.contigs import ContigNames
from kipoi_mcdropout.vcf.place.grouping import Grouping
from kipoi_mcdropout.vcf.place.placement import RefMismatch
from kipoi_mcdropout.vcf.read.alleles import BASES
from kipoi_mcdropout.vcf.read.record import Record
from kipoi_mcdropout.vcf.read.record_reader import RecordReader

MIN_COMPARED = 10  # fewer REF alleles prove nothing
MANY = 0.5  # from this share of differing REF on, the genome counts as a wrong one
SOME = 0.05  # a share from which on there is a warning
_NONE_SCORED = "None of its alleles is scored"
_BY_CHANCE = "Those that agree may agree by chance"
_STREAM_COMPARED = 100  # a stream, which cannot be looked at before, is judged after so many


class Survey:
    """What the records of a VCF say about its contigs.

    Attributes
    ----------
    records : int
    share : float
        Windows by mutant, where windows are shared; 1.0 where it is not known.
    ends : dict of str to int
        Last base of a REF on each contig of the VCF, 1-based.
    compared, differ : Counter
        REF alleles that were compared with the genome, and those of them that are not the genome's, by
        contig of the VCF.
    notices : list of str
        What must be known before the results are used.
    """

    def __init__(self, genome: Genome, names: ContigNames, ref_mismatch: RefMismatch) -> None:
        self.genome = genome
        self.names = names
        self.ref_mismatch = ref_mismatch
        self.records = self._mutants = self._windows = 0
        self._last: tuple[str, int | None] | None = None
        self.ends: dict[str, int] = {}
        self.compared: Counter[str] = Counter()
        self.differ: Counter[str] = Counter()
        self.notices: list[str] = []
        self._too_late: list[str] = []  # contigs of a stream that would have been left out of a file

    def add(self, record: Record) -> None:
        """Look at a record."""
        self.records += 1
        self._mutants += record.n_mutants
        here = (record.contig, record.middle)
        self._windows += record.middle is None or here != self._last
        self._last = here
        contig, ref = record.contig, record.ref.upper()
        end = record.pos - 1 + len(ref)
        self.ends[contig] = max(end, self.ends.get(contig, 0))
        target = self.names.candidate(contig)
        if target is None or record.pos < 1 or end > self.genome.lengths[target]:
            return
        found = self.genome.bases(target, record.pos - 1, end)
        if BASES.issuperset(ref) and BASES.issuperset(found):
            self.compared[contig] += 1
            self.differ[contig] += ref != found

    @property
    def share(self) -> float:
        """See the class."""
        return self._windows / self._mutants if self._mutants else 1.0

    def finish(self, ahead: bool) -> None:
        """All records were seen: judge them.

        Parameters
        ----------
        ahead : bool
            No record is placed yet, so contigs can still be left out.

        Raises
        ------
        InputError
            If too many REF differ, and `ref_mismatch` is "few".
        """
        self._refuse_another_genome()
        wrong = self.wrong_contigs()
        left_out = wrong if ahead and self.ref_mismatch == "few" else {}
        self.names.wrong = left_out
        if ahead:
            self.names.ends = self.ends
        elif self.ref_mismatch == "few":
            self._too_late = list(wrong)
        self.notices += self._differing(left_out)
        self.notices += [
            f"contig {contig}: {differ} of {compared} REF differ from the FASTA; is it another sequence "
            f"of that name? {_NONE_SCORED if contig in left_out else _BY_CHANCE}"
            for contig, (differ, compared) in wrong.items()
        ]
        self.notices += self.names.notices(self.ends)

    def _refuse_another_genome(self) -> None:
        differ, compared = self.differ.total(), self.compared.total()
        if self.ref_mismatch == "few" and compared >= MIN_COMPARED and differ >= MANY * compared:
            raise InputError(
                f"{self._words(differ, compared)} The others may agree by chance, as about a quarter of "
                "bases do in a wrong genome. Give the FASTA that the VCF was made with. If REF and ALT "
                "are swapped, correct them: bcftools norm --check-ref s. To score only the alleles "
                "that agree, use ref_mismatch skip"
            )

    def _differing(self, left_out: Iterable[str]) -> list[str]:
        """What is to be said of the REF of the contigs that are not left out."""
        differ = self.differ.total() - sum(self.differ[contig] for contig in left_out)
        compared = self.compared.total() - sum(self.compared[contig] for contig in left_out)
        if differ <= SOME * compared or self.ref_mismatch == "error":
            return []
        by_chance = min(-(-differ // 3), compared - differ)  # one base agrees where three differ
        chance = f" If so, about {by_chance} of those that agree do so by chance" if by_chance else ""
        return [self._words(differ, compared) + chance]

    def _words(self, differ: int, compared: int) -> str:
        return f"{differ} of {compared} REF differ from the FASTA {self.genome.path}: another assembly?"

    def wrong_contigs(self) -> dict[str, tuple[int, int]]:
        """Contigs on which most REF differ, with how many do and how many were compared."""
        return {
            contig: (self.differ[contig], n)
            for contig, n in self.compared.items()
            if n >= MIN_COMPARED and self.differ[contig] >= MANY * n
        }

    def scored_by_chance(self) -> str | None:
        """What is wrong with the results of a stream, if it has contigs that are not the genome's."""
        if not self._too_late:
            return None
        return (
            f"contigs {', '.join(self._too_late)}: most REF differ from the FASTA, and alleles that "
            "agree by chance were scored, because a pipe cannot be checked before it is scored. Leave "
            "these contigs out, or give the VCF as a file"
        )

    def watch(self, records: Iterable[Record]) -> Iterator[Record]:
        """Look at records as they pass, and stop where the genome is another one.

        Raises
        ------
        InputError
            As `finish` does, after the first hundred REF and at the end.
        """
        due = True
        for record in records:
            self.add(record)
            if due and self.compared.total() >= _STREAM_COMPARED:
                due = False
                self._refuse_another_genome()
            yield record
        self.finish(ahead=False)

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        wrong = {contig: f"{d} of {n}" for contig, (d, n) in self.wrong_contigs().items()}
        return {
            "records": self.records,
            "ref_compared": self.compared.total(),
            "ref_differ": self.differ.total(),
            "contigs_that_differ": wrong,
        }


def survey_records(
    survey: Survey, reader: RecordReader, again: Callable[[], RecordReader] | None, grouping: Grouping
) -> Iterable[Record]:
    """Look at all records of a file; the records of a stream are looked at as they pass.

    Parameters
    ----------
    again : callable, optional
        Opens the same records as `reader` once more; None for a stream.

    Returns
    -------
    iterable of Record
        The records to be scored.

    Raises
    ------
    InputError
        If a line of the file is malformed, or cannot be grouped, or `Survey.finish` does.
    """
    if again is None:
        return grouping.apply(survey.watch(reader), reader)
    with again() as first:
        for record in grouping.check(first, first):
            survey.add(record)
    survey.finish(ahead=True)
    return grouping.apply(reader, reader)
