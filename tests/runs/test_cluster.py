"""The same files from a Dask cluster, also where workers die, units fail, or the client is killed."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import h5py
import pandas as pd
import pytest

dask = pytest.importorskip("dask", reason="needs the extra 'distributed'")
distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")

from run_world import World, make_world, same_date  # noqa: E402

from kipoi_mcdropout.errors import InputError, McDropoutError  # noqa: E402
from kipoi_mcdropout.files.read import read_provenance  # noqa: E402
from kipoi_mcdropout.runs.interrupt import interrupts, raise_if_interrupted  # noqa: E402
from kipoi_mcdropout.runs.schedule import Failure, InProcess, Work, open_scheduler  # noqa: E402
from kipoi_mcdropout.runs.schedule.dask_cluster import DaskCluster  # noqa: E402

ISM_FILES = ["out.h5", "out.tsv", "out.parquet"]
VCF_FILES = ["out.vcf.gz", "t.parquet", "s.tsv"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskCluster]:
    """Two processes."""
    cluster = DaskCluster.local(2, encrypted=False)
    yield cluster
    cluster.close()


@pytest.fixture
def address(cluster: DaskCluster) -> str:
    return cluster.client.scheduler.address


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    same_date(monkeypatch)
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 20)
    world = make_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    return world


def both(world: World, folder: str, *more: str) -> None:
    (world.folder / folder).mkdir(exist_ok=True)
    os.chdir(world.folder / folder)
    world.ism("-s", "diff", "logit", "--keep_draws", *more, "-o", *ISM_FILES)
    files = ["-o", VCF_FILES[0], "-t", VCF_FILES[1], "--skipped", VCF_FILES[2]]
    world.score_variants("--q_values", *files, *more)


def arrays(path: Path) -> dict[str, bytes]:
    """The bytes of every array of an HDF5 file, the kept draws among them; the texts joined."""
    found: dict[str, bytes] = {}

    def add(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            value = item[()]
            found[name] = b"\n".join(value) if value.dtype.kind == "O" else value.tobytes()

    with h5py.File(path) as file:
        file.visititems(add)
    return found


def records(path: Path) -> list[bytes]:
    """The lines of a bgzipped VCF below its header, which has the words of the command."""
    return [line for line in gzip.decompress(path.read_bytes()).splitlines() if line[:2] != b"##"]


def assert_same(world: World, more: list[str]) -> None:
    """Byte for byte, but for what the command says of the scheduler.

    And but for why the engine was chosen: a model with a trap in it cannot be captured.
    """
    words = "|".join(f', "{re.escape(word)}"' for word in more)
    for name in [*ISM_FILES[1:2], VCF_FILES[2]]:
        lines, expected = (
            re.sub(rb', "engine_reason": "[^"]*"', b"", (world.folder / folder / name).read_bytes())
            for folder in ("cluster", "whole")
        )
        assert re.sub(words.encode(), b"", lines) == expected
    ours, whole = (world.folder / folder for folder in ("cluster", "whole"))
    for name in ("out.parquet", "t.parquet"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(ours / name), pd.read_parquet(whole / name), check_exact=True
        )
    assert arrays(ours / ISM_FILES[0]) == arrays(whole / ISM_FILES[0])
    assert records(ours / VCF_FILES[0]) == records(whole / VCF_FILES[0])
    assert sorted(os.listdir(world.folder / "cluster")) == sorted([*ISM_FILES, *VCF_FILES])


def test_the_same_as_in_process(world: World, address: str) -> None:
    both(world, "whole")
    both(world, "cluster", "--scheduler", address)
    assert_same(world, ["--scheduler", address])


@pytest.mark.parametrize("engine", ["incremental", "auto"])
def test_the_same_with_the_incremental_engine(
    world: World, address: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"_MUST_WORK": 0.0, "_MUST_RUN": 0, "_MUST_GAIN": 0.99, "_CAPTURE_SHARE": float("inf")}
    for name, value in small.items():
        monkeypatch.setattr(f"kipoi_mcdropout.engine.choose.{name}", value)  # the toy is small
    source = (world.model / "model.py").read_text().replace("        spring(seq)\n", "")
    (world.model / "model.py").write_text(source)  # a model with a trap cannot be captured
    words = ["--engine", engine, *(["--memory", "0.3MB"] if engine == "incremental" else [])]
    both(world, "whole", *words)
    both(world, "cluster", *words, "--scheduler", address)
    assert_same(world, ["--scheduler", address])
    assert any(name.endswith("effect_draws") for name in arrays(world.folder / "cluster/out.h5"))
    both(world, "full", "--engine", "full", "--scheduler", address)
    for name in ("out.parquet", "t.parquet"):
        record = read_provenance(world.folder / "cluster" / name)
        assert record["options"]["engine_used"] == "incremental"
        # The workers used it too: with whole inputs the same numbers are rounded in another way.
        found, full = (
            pd.read_parquet(world.folder / folder / name)["alt_mean"] for folder in ("cluster", "full")
        )
        assert not found.equals(full)
        assert float((found - full).abs().max()) < 1e-6


def test_a_scheduler_and_a_worker_started_by_hand(world: World) -> None:
    path = world.folder / "scheduler.json"
    local = ["--host", "127.0.0.1", "--scheduler-file", str(path)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "dask"]
    with (
        subprocess.Popen(
            [*dask, "scheduler", "--port", "0", "--dashboard-address", ":0", *local], **quiet
        ) as scheduler,
        subprocess.Popen([*dask, "worker", "--nthreads", "1", *local], **quiet) as worker,
    ):
        try:
            while not path.exists() and scheduler.poll() is None:
                time.sleep(0.1)
            both(world, "whole")
            both(world, "cluster", "--scheduler", str(path))
        finally:
            worker.terminate()
            scheduler.terminate()
    assert_same(world, ["--scheduler", str(path)])


def test_a_worker_that_dies_is_replaced(world: World, address: str, cluster: DaskCluster) -> None:
    both(world, "whole")
    before = set(cluster.client.scheduler_info()["workers"])
    world.set_trap("kill_once", os.getpid())
    both(world, "cluster", "--scheduler", address)
    assert not (world.model / "trap").exists(), "the trap has sprung"
    assert_same(world, ["--scheduler", address])
    cluster.client.wait_for_workers(2)
    assert set(cluster.client.scheduler_info()["workers"]) != before


@pytest.mark.parametrize("kind", ["raise", "kill"])
def test_what_always_fails_is_named_and_left_out(
    world: World, address: str, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    world.set_trap(kind, os.getpid())
    with pytest.raises(SystemExit) as stop:
        both(world, "cluster", "--scheduler", address)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    why = "the trap has sprung" if kind == "raise" else "several workers died while they computed it"
    assert f"sequence 4 (region4): {'RuntimeError: ' if kind == 'raise' else ''}{why}" in error
    both(world, "cluster", "--scheduler", address, "--resume", "--on_error", "skip")
    failed = pd.read_table(world.folder / "cluster/out.h5.failed.tsv")
    assert failed["sequence"].tolist() == [4]
    assert why in failed["reason"][0]
    table = pd.read_parquet(world.folder / "cluster/out.parquet")
    assert sorted(set(table["sequence"])) == [0, 1, 2, 3, 5, 6]
    skipped = pd.read_table(world.folder / "cluster/s.tsv")
    ours = skipped[skipped["reason"] == "failed"]
    assert len(ours) >= 1
    assert ours["detail"].str.contains(why).all()
    assert ours["pos"].max() - ours["pos"].min() <= 20, "one batch"
    world.remove_trap()
    both(world, "whole")
    table, whole = (pd.read_parquet(world.folder / name / "t.parquet") for name in ("cluster", "whole"))
    kept = whole[~whole["pos"].isin(ours["pos"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        table.drop(columns="q_value"), kept.drop(columns="q_value"), check_exact=True
    )


KILLED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a script
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
import kipoi_mcdropout.vcf.score as score
from run_world import World, same_date
import test_cluster as t
same_date()
score.chunk_alleles = lambda *_: 20
folder = Path(sys.argv[3])
world = World(folder, folder / "model", folder / "genome.fa", folder / "regions.bed", folder / "in.vcf")
t.both(world, "cluster", "--scheduler", sys.argv[4])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_client_that_is_stopped_is_resumed(world: World, address: str, number: int) -> None:
    world.set_trap("wait", os.getpid())  # at sequence 4, so that there is time to stop the client
    here = Path(__file__).parent
    words = [str(here), str(here.parent), str(world.folder), address]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *words], stderr=subprocess.PIPE, text=True)
    units = world.folder / "cluster/.out.h5.units"
    while not (units / "000000003.unit").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate()
    assert process.returncode == (130 if number == signal.SIGINT else -number), error
    if number == signal.SIGINT:
        assert "The finished part is kept: run the same command with --resume" in error
        assert os.listdir(world.folder / "cluster") == [".out.h5.units"]
    world.remove_trap()
    both(world, "cluster", "--scheduler", address, "--resume")
    both(world, "whole")
    assert_same(world, ["--scheduler", address, "--resume"])


def test_other_weights_elsewhere_are_refused(
    world: World, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kipoi_mcdropout.model.adapter.weights_checksum", lambda _module: "0" * 64)
    with pytest.raises(SystemExit) as stop:
        both(world, "cluster", "--scheduler", address, "--on_error", "skip")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "cannot start" in error
    assert "its weights differ here" in error


def test_nobody_else_can_send_code_to_a_local_cluster() -> None:
    pytest.importorskip("cryptography", reason="needs the extra 'distributed'")
    before = dask.config.get("distributed.deploy.lost-worker-timeout")
    cluster = DaskCluster.local(1)
    try:
        assert list(cluster.run(Work(abs, lambda: abs), [("a", -1)])) == [("a", 1)]
        info = cluster.client.scheduler_info()
        for address in (info["address"], *info["workers"]):
            scheme, host, port = address.replace("//", "").split(":")
            assert (scheme, host) == ("tls", "127.0.0.1")
            stranger = ssl.create_default_context()
            stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
            with (
                socket.create_connection((host, int(port))) as plain,
                pytest.raises(ssl.SSLError, match="certificate required"),
                stranger.wrap_socket(plain) as encrypted,
            ):
                encrypted.recv(1)
    finally:
        cluster.close()
    assert dask.config.get("distributed.deploy.lost-worker-timeout") == before


def test_a_local_cluster_from_the_command_line(world: World) -> None:
    pytest.importorskip("cryptography", reason="needs the extra 'distributed'")
    both(world, "whole")
    both(world, "cluster", "--scheduler", "local:1")
    assert_same(world, ["--scheduler", "local:1"])


def test_results_keep_the_order_of_the_units_and_few_are_under_way(cluster: DaskCluster) -> None:
    asked: list[int] = []

    def units() -> Iterator[tuple[str, int | None]]:
        for i in range(60):
            asked.append(i)
            yield f"unit {i}", None if i % 10 == 5 else i

    def uneven(i: int) -> int:
        sum(range(1_000_000 * (i % 3)))  # the more, the later it is done
        return i * i

    work: Work[int, int] = Work(uneven, lambda: uneven)
    for n, (tag, result) in enumerate(cluster.run(work, units())):
        assert tag == f"unit {n}"
        assert result == (None if n % 10 == 5 else n * n)
        assert len(asked) - n <= 6
    assert n == 59


def test_a_reader_that_stops_cancels_the_rest(cluster: DaskCluster, tmp_path: Path) -> None:
    def held_back(i: int) -> int:
        (tmp_path / f"{i} has begun").touch()
        while i > 0 and not (tmp_path / "go on").exists():
            time.sleep(0.01)
        return i

    def waiting(dask_worker: distributed.Worker) -> int:
        return len(dask_worker.state.ready)

    def running(dask_worker: distributed.Worker) -> int:
        return len(dask_worker.state.executing) + len(dask_worker.state.long_running)

    stream = cluster.run(Work(held_back, lambda: held_back), ((i, i) for i in range(100)))
    next(stream)
    stream.close()
    for tasks in (waiting, running):
        while any(cluster.client.run(tasks).values()):
            time.sleep(0.01)
        (tmp_path / "go on").touch()
    assert len(list(tmp_path.glob("* has begun"))) <= 3, "the first, and one in each worker"


def test_ctrl_c_that_python_loses_ends_the_wait_for_a_unit(
    cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it comes inside a callback of the garbage collector; Dask has many."""

    def held_back(i: int) -> int:
        while not (tmp_path / "go on").exists():
            time.sleep(0.01)
        return i

    def losing(*_: object, **__: object) -> None:
        if signalled:
            (tmp_path / "go on").touch()
        else:
            signalled.append(True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        raise TimeoutError

    signalled: list[bool] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(distributed, "wait", losing)
    with pytest.raises(KeyboardInterrupt), interrupts():
        list(cluster.run(Work(held_back, lambda: held_back), [("a", 1)]))
    signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "go on").exists()
    (tmp_path / "go on").touch()
    raise_if_interrupted()  # it is nobody else's


def test_a_unit_that_raises_is_tried_twice(cluster: DaskCluster, tmp_path: Path) -> None:
    def once(i: int) -> int:
        if not (tmp_path / str(i)).exists():
            (tmp_path / str(i)).touch()
            raise RuntimeError("only once")
        return i

    def always(i: int) -> int:
        raise ValueError(f"no {i}\nat all")

    assert list(cluster.run(Work(once, lambda: once), [("a", 1)])) == [("a", 1)]
    failures = list(cluster.run(Work(always, lambda: always), [("a", 1)]))
    assert failures == [("a", Failure("ValueError: no 1 at all"))]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("nonsense", "scheduler must be none, local"),
        ("local:0", "at least one worker"),
        ("local:x", "scheduler must be"),
        ("missing.json", "no scheduler file"),
        ("tcp://127.0.0.1:1", "no Dask scheduler answers"),
    ],
)
def test_bad_schedulers(where: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kipoi_mcdropout.runs.schedule.dask_cluster._CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match=message):
        open_scheduler(where)


def test_a_model_without_a_name_cannot_travel(world: World, cluster: DaskCluster) -> None:
    import torch
    from torch import nn
    from variant_call import score_variants

    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(96, 1), nn.Sigmoid())
    with torch.no_grad(), pytest.raises(InputError, match=r"or from kipoi.get_model"):
        score_variants(
            net, world.vcf, world.fasta, table=world.folder / "t.tsv", length=24, category_axis=0,
            scheduler=cluster,
        )  # fmt: skip
    assert isinstance(open_scheduler("none"), InProcess)


def test_a_unit_is_not_left_waiting_for_workers_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask keeps a task for workers that it was told of, also if they are gone and others have come."""
    from kipoi_mcdropout.runs.schedule import dask_cluster

    monkeypatch.setattr(dask_cluster, "_ASK_SECONDS", 0.5)

    def nothing() -> object:
        return lambda unit: unit

    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        distributed.Client(empty) as client,
    ):
        pending = dask_cluster._Pending(client, "key", cloudpickle.dumps(nothing), 7)
        pending.future.cancel()
        pending._submit({"tcp://127.0.0.1:9"})
        left = pending.future
        empty.scale(1)
        assert client.submit(len, "abc").result() == 3, "there is a worker now, and it is free"
        assert not left.done(), "Dask has changed: the way round it can go"
        assert pending.result() == 7


def test_workers_of_a_local_cluster_have_one_thread_and_use_memory_again(cluster: DaskCluster) -> None:
    def environment() -> dict[str, str]:
        return dict(os.environ)

    for found in cluster.client.run(environment).values():
        assert int(found["MALLOC_MMAP_THRESHOLD_"]) > 2**25, "glibc's own largest"
        assert int(found["MALLOC_TRIM_THRESHOLD_"]) > 2**26
        assert found["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS", "1")


def test_a_unit_that_needs_more_memory_than_a_worker_has() -> None:
    def greedy(unit: int) -> int:
        held = [b"x" * 2**27 for _ in range(unit) if time.sleep(0.05) is None]  # so that Dask sees it
        return len(held)

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        own = distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit="2GiB", dashboard_address="127.0.0.1:0"
        )
    cluster = DaskCluster(distributed.Client(own, direct_to_workers=True), own)
    work: Work[int, int] = Work(greedy, lambda: greedy)
    results = list(cluster.run(work, enumerate([1, 40, 2])))
    cluster.close()
    assert [results[0], results[2]] == [(0, 1), (2, 2)]
    failure = results[1][1]
    assert isinstance(failure, Failure)
    assert "too little memory" in failure.reason


def test_an_error_that_stops_the_run_is_no_failure_of_a_unit(cluster: DaskCluster) -> None:
    class DoubtError(McDropoutError):
        stops_the_run = True

    def doubtful(_unit: int) -> int:
        raise DoubtError("numbers cannot be trusted")

    work: Work[int, int] = Work(doubtful, lambda: doubtful)
    for scheduler in (InProcess(), cluster):
        with pytest.raises(McDropoutError, match="cannot be trusted"):
            list(scheduler.run(work, [("a", 1)]))
