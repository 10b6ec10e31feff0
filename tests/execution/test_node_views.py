"""Nodes that see other folders than the driver does, or may do less.

One that lacks what trials need ends the campaign at once, with one message.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pcsearch.runs.segmented_journal import read_segments
from pcsearch.storage import open_storage
from tests.cluster.heads import Head, descendants, join, running_head
from tests.cluster.test_jobs import SMALL
from tests.e2e.cli import overrides, read_journal
from tests.e2e.pictures import save_parts
from tests.e2e.prefork import run
from tests.storage.conftest import bucket as bucket
from tests.storage.conftest import network as network
from tests.storage.conftest import s3_port as s3_port
from tests.storage.network import Network, network_to

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with running_head("--num-cpus=0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0") as started:
        yield started


@contextlib.contextmanager
def node(head: Head, *wrapper: str) -> Iterator[int]:
    """A further node of one CPU; its process id."""
    started = join(head, *wrapper)
    try:
        yield started.pid
    finally:
        for pid in descendants(started.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        started.communicate()


def seeing(mounts: str) -> list[str]:
    """Before a command: it runs with mounts of its own."""
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]
    if subprocess.run([*alone, mounts], check=False).returncode:
        pytest.skip("a mount of its own needs root")
    return [*alone, f'{mounts}; exec "$@"', "sh"]


def tune(
    head: Head, runs: str, recipe: Sequence[str] = SMALL, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = ["tune", *recipe, "--plain", "--name=run"]
    command += ["--address", head.address, "--runs", runs]
    return run(command, Path.cwd(), {**head.environment, **environment}, timeout=180)


def check_that_it_is_said_once(
    head: Head, done: subprocess.CompletedProcess[str], *messages: str
) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    for message in messages:
        assert done.stderr.count(message) == 1, done.stderr
    assert "Fix this, then resume with: pcsearch resume " in done.stderr
    assert f"--address {head.address}" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ("mount -t tmpfs none {runs}", "does not see the run folder"),
        (
            "mount --bind {runs} {runs} && mount -o remount,bind,ro {runs}",
            "cannot write into the run folder",
        ),
    ],
    ids=["another folder", "read only"],
)
def test_a_folder_of_runs_that_is_not_shared(
    head: Head, mount: str, message: str, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    with node(head, *seeing(mount.format(runs=runs))):
        done = tune(head, str(runs))
    check_that_it_is_said_once(head, done, message)
    assert "--runs" in done.stderr
    kinds = [event["event"] for event in read_journal(runs / "run" / "journal.jsonl")]
    assert kinds == ["campaign", "asked", "ended"]  # nothing failed: it may go on when mended


@pytest.mark.parametrize(
    ("may", "message"),
    [
        ("read", "access is denied; these credentials need s3:ListBucket on the bucket and"),
        ("nothing", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run"),
    ],
)
def test_a_store_that_the_node_may_not_write(
    head: Head, may: str, message: str, bucket: str, network: Network, s3_port: int
) -> None:
    """The driver may: what it is not told by its own attempt, it is told by the worker's."""
    pytest.importorskip("boto3", reason="needs boto3: pip install 'pcsearch[aws]'")
    runs = f"s3://{bucket}/runs"
    driver = {name: text for name, text in os.environ.items() if name.startswith("AWS_")}
    with network_to(s3_port) as guarded:
        guarded.deny(b"PUT")
        own = driver | {"AWS_ENDPOINT_URL": guarded.url}
        if may == "nothing":
            del own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"]
        with node(head, "env", *(f"{name}={text}" for name, text in own.items())):
            done = tune(head, runs, **driver)
    check_that_it_is_said_once(head, done, "this node cannot use the store of the run", message)
    kinds = [event["event"] for event in read_segments(open_storage(f"{runs}/run"))]
    assert kinds == ["campaign", "asked", "ended"]


def test_images_that_are_not_there(head: Head, tmp_path: Path) -> None:
    """Nor decoded: the node has an image cache of its own."""
    cache, runs = tmp_path / "cache", tmp_path / "runs"
    cache.mkdir()
    pictures = save_parts(tmp_path / "pictures")
    recipe = ["quickstart", "datasets=[images]", f"data.images={pictures}", *SMALL[2:]]
    with node(head, *seeing(f"mount -t tmpfs none {cache}; mount -t tmpfs none {pictures}")):
        done = tune(head, str(runs), recipe, PCSEARCH_CACHE=str(cache))
    check_that_it_is_said_once(
        head, done, "this node cannot open the dataset images", "under the same path on every node"
    )
    kinds = [event["event"] for event in read_journal(runs / "run" / "journal.jsonl")]
    assert kinds == ["campaign", "asked", "ended"]


def test_a_gpu_that_pytorch_cannot_use(tmp_path: Path) -> None:
    """Four trials at once, with a quarter of it each, and one message."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine's GPU can be used")
    quarters = overrides(resources={"gpus_per_trial": 0.25, "cpus_per_trial": 1})
    recipe = [*SMALL, *quarters, "search.trials=8"]
    resources = ("--num-cpus=8", "--num-gpus=1")
    with running_head(*resources, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0") as head:
        done = tune(head, str(tmp_path), recipe)
    check_that_it_is_said_once(head, done, "the trial was given a GPU that this PyTorch cannot use")
    assert "or set resources.gpus_per_trial=0" in done.stderr
    kinds = [event["event"] for event in read_journal(tmp_path / "run" / "journal.jsonl")]
    assert kinds == ["campaign", *["asked"] * 4, "ended"]


def test_each_node_decodes_into_a_cache_of_its_own(head: Head, tmp_path: Path) -> None:
    """Two nodes with disks of their own, beside the driver's."""
    cache, runs = tmp_path / "cache", tmp_path / "runs"
    cache.mkdir()
    recipe = [*SMALL, "search.trials=6", "asha.grace_epochs=2", "resources.max_concurrent=2"]
    own = seeing(f"mount -t tmpfs none {cache}")
    with node(head, *own) as first, node(head, *own) as second:
        done = tune(head, str(runs), recipe, PCSEARCH_CACHE=str(cache))
        assert done.returncode == 0, done.stdout + done.stderr
        decoded = [stores(Path(f"/proc/{pid}/root{cache}")) for pid in (first, second)]
    whole = stores(cache)
    assert len(whole) == 2, "training and test images"
    for one in decoded:
        assert one, "search trials ran on both"
        assert one.items() <= whole.items(), "the same pixels under the same keys, and no others"
    events = read_journal(runs / "run" / "journal.jsonl")
    assert [event for event in events if event["event"] == "failed"] == []


def stores(cache: Path) -> dict[str, bytes]:
    """The pixels that lie in an image cache, by the name of their file."""
    return {
        str(path.relative_to(cache)): path.read_bytes()
        for path in cache.rglob("*.npy")
        if path.suffixes == [".npy"]  # not what is known of a store
    }
