"""A disk that becomes full: one line, exit code 1, nothing half-made, work kept where it can be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import HERE
from run_world import World, make_world, same_date

from kipoi_mcdropout.files.hdf5 import ErrorKeepingFile

LIMITED = """
import os, resource, sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
import run_world

run_world.same_date()
run_world.small_chunks()
world = run_world.world_at(Path(sys.argv[3]))
os.chdir(sys.argv[4])
if int(sys.argv[5]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]),) * 2)
getattr(world, sys.argv[6])(*sys.argv[7:])
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    same_date(monkeypatch)
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 20)
    world = make_world(tmp_path)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    return world


def limited(
    world: World, folder: Path, most_bytes: int, *words: str
) -> subprocess.CompletedProcess[str]:
    arguments = [str(HERE), str(HERE.parent), str(world.folder), str(folder), str(most_bytes), *words]
    return subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments],
        stderr=subprocess.PIPE, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_hdf5_beyond_the_largest_file_that_is_allowed(world: World) -> None:
    """The units fit, the HDF5 file does not: the process ends by itself, not by a signal."""
    words = ["ism", "-s", "diff", "logit", "--keep_draws", "-o", "out.h5"]
    done = limited(world, Path.cwd(), 60_000, *words)
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert "File too large. No output was written. The finished part is kept" in done.stderr
    assert os.listdir() == [".out.h5.units"]
    assert len(list(Path(".out.h5.units").glob("*.unit"))) >= 1
    world.ism(*words[1:], "--resume")
    assert os.listdir() == ["out.h5"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    found = shutil.which("mount") is not None
    if not found or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    "words",
    [
        ["ism", "-s", "diff", "logit", "deepsea_effect", "--keep_draws", "-o", "out.h5", "out.tsv"],
        ["score_variants", "-o", "out.vcf.gz", "-t", "t.parquet", "--q_values"],
    ],
    ids=["ism", "score_variants"],
)
def test_a_full_disk(world: World, small_disk: Path, words: list[str]) -> None:
    (small_disk / "filler").write_bytes(b"x" * 330_000)
    done = limited(world, small_disk, 0, *words)
    outputs = [word for word in words if word.startswith(("out.", "t."))]
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert "No space left on device" in done.stderr
    units = f".{outputs[0]}.units"
    kept = "The finished part is kept" in done.stderr
    assert sorted(os.listdir(small_disk)) == sorted(["filler", *([units] if kept else [])])
    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    again = limited(world, small_disk, 0, *words, "--resume")
    assert again.returncode == 0, again.stderr
    assert sorted(os.listdir(small_disk)) == sorted(outputs)


def test_the_first_error_of_a_file_is_kept() -> None:
    file = ErrorKeepingFile(Path("/dev/full"))
    assert file.write(b"12345") == 5, "HDF5 is told that all is well"
    with pytest.raises(OSError, match="No space left"):
        file.check()
    file.close()
