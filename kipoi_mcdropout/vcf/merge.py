"""The outputs of a run over a VCF from its shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf import bgzf
from kipoi_mcdropout.vcf.chunk_layout import Offsets, read_layout
from kipoi_mcdropout.vcf.ledger import Ledger
from kipoi_mcdropout.vcf.parts import PartFile
from kipoi_mcdropout.vcf.run_outputs import KIND
from kipoi_mcdropout.vcf.table import schema_of
from kipoi_mcdropout.vcf.table_file import TableFile
from kipoi_mcdropout.writers.atomic import check_free
from kipoi_mcdropout.writers.shards import ShardRun

_BLOCK = 2**20


def merge_variants(shards: Sequence[ShardRun], overwrite: bool = False) -> Ledger:
    """Write the outputs that the run without shards would have written.

    The parts of all shards are put together chunk by chunk, byte by byte, and finished as those of a
    whole run are.

    Parameters
    ----------
    shards : sequence of ShardRun
        From `complete_shards`.
    overwrite : bool
        Replace outputs that exist.

    Raises
    ------
    InputError
        If the shards have not the chunks that they would have of one VCF.
    """
    first = shards[0]
    if first.kind != KIND:
        raise InputError(f"the shards must be of {KIND}; they are of {first.kind}")
    layouts = [read_layout(shard.folder) for shard in shards]
    n_chunks = _check_chunks(layouts, shards)
    paths = {name: Path(path) for name, path in first.outputs.items() if path is not None}
    check_free(paths.values(), overwrite)
    ledger = Ledger()
    for shard in shards:
        ledger.merge(Ledger.from_dict(shard.state["ledger"]))
    record = {**first.record, "ledger": ledger.to_dict()}
    for name, path in paths.items():
        _merge_file(name, path, shards, layouts, n_chunks, record)
    return ledger


def _check_chunks(layouts: Sequence[list[Offsets]], shards: Sequence[ShardRun]) -> int:
    """Number of chunks of the whole run, which were dealt out in turn."""
    counts = [len(layout) - 1 for layout in layouts]  # the first line is that of the headers
    n = sum(counts)
    for i, (count, shard) in enumerate(zip(counts, shards, strict=True)):
        expected = (n - i + len(shards) - 1) // len(shards)
        if count != expected or count != shard.state["chunks"]:
            raise InputError(
                f"shard {shard.shard.folder} has {count} chunks of records where {expected} were to be "
                "expected; run it again"
            )
    return n


def _merge_file(
    name: str,
    path: Path,
    shards: Sequence[ShardRun],
    layouts: Sequence[list[Offsets]],
    n_chunks: int,
    record: dict[str, Any],
) -> None:
    if name == "table":
        target: PartFile | TableFile = TableFile(path, schema_of(record["options"]["quantiles"]))
    else:
        target = PartFile(path)
    write = target.write_bytes if isinstance(target, TableFile) else target.write
    try:
        ranges = [(0, 0, layouts[0][0][name])]
        for chunk in range(n_chunks):
            shard, number = chunk % len(shards), chunk // len(shards)
            ranges.append((shard, layouts[shard][number][name], layouts[shard][number + 1][name]))
        for shard, begin, end in ranges:
            for data in _pieces(shards[shard].folder / f"{name}.part", begin, end):
                write(data)
        if isinstance(target, TableFile):
            target.finish(record, record["options"]["q_values"])
        else:
            if name == "vcf" and path.name.endswith("gz"):
                target.write(bgzf.END)
            target.finish()
    except BaseException:
        target.abandon(remove=True)
        raise


def _pieces(path: Path, begin: int, end: int) -> Iterator[bytes]:
    """Bytes [begin, end) of a file, open only meanwhile: there may be more shards than open files."""
    with path.open("rb") as part:
        part.seek(begin)
        while begin < end:
            data = part.read(min(_BLOCK, end - begin))
            if not data:
                raise InputError(f"{path} is cut off; run that shard again")
            yield data
            begin += len(data)
