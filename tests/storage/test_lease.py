"""The lease: one holder, a dead one is replaced, a replaced one is told."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pcsearch.errors import PcsearchError, UserError
from pcsearch.storage import LeaseLostError, Storage, open_storage
from pcsearch.storage.lease import Lease, acquire, newest_holder, seen_alive
from pcsearch.storage.local import LocalStorage
from pcsearch.storage.retry import Patience
from pcsearch.storage.s3 import S3Storage
from tests.storage.conftest import PATIENCE
from tests.storage.network import Network, network_to
from tests.storage.test_s3_faults import away

SECONDS = 2.0
"""A lease time that a busy machine keeps, and a test can wait for."""

_HOLDER = """
import sys
from pcsearch.errors import PcsearchError
from pcsearch.storage import open_storage
from pcsearch.storage.lease import acquire
lease = acquire(open_storage(sys.argv[1]), float(sys.argv[2]))
print("held", flush=True)
for line in sys.stdin:
    try:
        lease.check()
        print("still", flush=True)
    except PcsearchError as error:
        print(type(error).__name__, flush=True)
"""


@contextlib.contextmanager
def holding(storage: Storage, seconds: float = SECONDS) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease, and says on each line it is sent whether it still does."""
    command = [sys.executable, "-c", _HOLDER, storage.url, str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert said(process) == "held"
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ask(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    process.stdin.write("?\n")
    process.stdin.flush()
    return said(process)


def test_a_lease_is_one_processs_and_given_back_at_once(storage: Storage) -> None:
    with holding(storage) as process:
        with pytest.raises(UserError) as told:
            acquire(storage, SECONDS)
        who = f"{storage.url} is in use: process {process.pid} on {socket.gethostname()} runs it"
        assert who in str(told.value)
        assert ask(process) == "still"
    storage.remove_all("lock")
    with acquire(storage, SECONDS) as lease:
        lease.check()
        assert not lease.lost
        assert lease.holder.pid == os.getpid()
    assert storage.list() == []
    lease.release()  # once more does nothing
    with pytest.raises(ZeroDivisionError), acquire(storage, SECONDS):
        raise ZeroDivisionError
    assert storage.list() == []


def test_a_killed_holder_is_replaced_once_it_stood_still(storage: Storage) -> None:
    with holding(storage) as process:
        process.kill()
        process.wait()
    assert storage.list("lock") == ["lock/00000001", "lock/00000001.beat"]
    with acquire(storage, SECONDS) as lease:
        assert lease.holder.number == 2
        assert storage.list("lock") == ["lock/00000002", "lock/00000002.beat"]


def test_a_holder_that_was_frozen_is_told_that_it_was_replaced(storage: Storage) -> None:
    with holding(storage) as process:
        os.kill(process.pid, signal.SIGSTOP)
        with acquire(storage, SECONDS) as lease:
            os.kill(process.pid, signal.SIGCONT)
            assert ask(process) == "LeaseLostError"
            lease.check()
            assert newest_holder(storage) == lease.holder


def test_a_holder_that_was_frozen_and_not_replaced_goes_on(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with holding(storage, 0.5) as process:
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(1.5)  # longer than the lease, but nobody watched
        os.kill(process.pid, signal.SIGCONT)
        assert ask(process) == "still"


@pytest.mark.slow
def test_of_many_who_want_a_dead_ones_lease_one_gets_it(storage: Storage) -> None:
    with holding(storage) as process:
        process.kill()
    together = threading.Barrier(4)

    def take(_: int) -> Lease | None:
        together.wait()
        try:
            return acquire(storage, SECONDS)
        except UserError:
            return None

    with ThreadPoolExecutor(4) as pool:
        taken = [lease for lease in pool.map(take, range(4)) if lease is not None]
    (lease,) = taken
    lease.check()
    lease.release()
    assert storage.list("lock") == []


def test_who_is_alive_is_seen_without_taking_the_lease(storage: Storage) -> None:
    assert seen_alive(storage, SECONDS) is None
    with holding(storage) as process:
        holder = seen_alive(storage, SECONDS)
        assert holder is not None
        assert holder.pid == process.pid
        process.kill()
    assert seen_alive(storage, SECONDS) is None
    assert newest_holder(storage) == holder


def test_a_lock_that_was_removed_or_replaced_is_lost(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with acquire(storage, 0.5) as first:
        storage.remove_all("lock")
        with acquire(storage, SECONDS) as second:  # takes the same number
            assert second.holder.number == first.holder.number
            wait_until_lost(first)
            with pytest.raises(LeaseLostError):
                first.check()
            first.release()
            second.check()
            assert storage.exists("lock/00000001")


def wait_until_lost(lease: Lease) -> None:
    """The test's time limit is the limit."""
    while not lease.lost:
        time.sleep(0.05)


def test_a_newer_lock_beside_ones_own_means_that_one_was_replaced(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with acquire(storage, 0.5) as lease:
        storage.write("lock/00000002", b'{"host":"elsewhere","pid":7}')
        wait_until_lost(lease)
        with pytest.raises(LeaseLostError, match="process 7 on elsewhere has taken over"):
            lease.check()
    assert storage.exists("lock/00000002")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b"[" * 100_000,
        b"[]",
        b'{"host":"\\u001b[31m","pid":"x","expires_in_seconds":1e400,"identity":[]}',
        b'{"host":"h","pid":1,"expires_in_seconds":-5}',
        b'{"host":"h","pid":1,"expires_in_seconds":0.1}',
    ],
)
def test_a_lock_is_never_trusted(tmp_path: Path, content: bytes) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("lock/00000007", content)
    holder = newest_holder(storage)
    assert holder is not None
    assert str(holder).isprintable()
    assert 0 <= holder.expires_in_seconds <= 600
    if b"0.1" in content:  # the others are given the usual time
        with acquire(storage, 0.2) as lease:
            assert lease.holder.number == 8
            assert storage.list("lock") == ["lock/00000008", "lock/00000008.beat"]


@pytest.mark.slow
def test_a_server_that_is_away_for_longer_than_the_lease_costs_nobody_the_lease(
    s3: S3Storage, network: Network
) -> None:
    with acquire(s3, SECONDS) as lease:
        with ThreadPoolExecutor(1) as pool:
            with away(network, 3 * SECONDS):
                other = pool.submit(acquire, s3, SECONDS)  # away for this one, too
                time.sleep(2 * SECONDS)
                lease.check()  # waits for an answer
            with pytest.raises(UserError, match="is in use"):
                other.result()
        lease.check()
        assert not lease.lost


@pytest.mark.slow
def test_a_time_without_answers_is_no_standing_still(s3: S3Storage, network: Network) -> None:
    with holding(s3) as process, ThreadPoolExecutor(1) as pool:
        os.kill(process.pid, signal.SIGSTOP)
        other = pool.submit(acquire, s3, SECONDS)
        time.sleep(SECONDS / 4)  # it has seen the beat, and watches
        with away(network, 2 * SECONDS):
            pass
        seen = network.answered
        while network.answered < seen + 3:  # a look at the beat and one at the locks are two
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGCONT)
        with pytest.raises(UserError, match="is in use"):
            other.result()
        assert ask(process) == "still"


def test_a_lock_made_behind_a_newer_one_is_given_up(tmp_path: Path) -> None:
    newer: list[Lease] = []

    class Late(LocalStorage):
        """Between its look at the locks and its creation, another went through number 1 to 2."""

        def create(self, name: str, data: bytes) -> bool:
            if not newer:
                storage.write("lock/00000001", b'{"host":"h","pid":1,"expires_in_seconds":0.1}')
                newer.append(acquire(storage, 0.5))
            return super().create(name, data)

    storage = LocalStorage(tmp_path)
    with pytest.raises(UserError, match="is in use"):
        acquire(Late(tmp_path), 0.5)
    newer[0].check()
    assert storage.list("lock") == ["lock/00000002", "lock/00000002.beat"]
    newer[0].release()


@pytest.mark.slow
def test_a_holder_that_was_cut_off_alone_is_replaced_and_told(
    s3: S3Storage, s3_port: int, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    with network_to(s3_port) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.url)
        other = open_storage(s3.url)
        with acquire(s3, SECONDS) as cut_off:
            network.switch_off()
            with acquire(other, SECONDS) as lease:
                network.switch_on()
                with pytest.raises(LeaseLostError, match=f"process {os.getpid()} on .* has taken"):
                    cut_off.check()
                assert cut_off.lost
                cut_off.release()
                lease.check()
                assert newest_holder(other) == lease.holder


def test_a_holder_that_stays_cut_off_must_stop(bucket: str, network: Network) -> None:
    patience = Patience(total_seconds=1, first_wait_seconds=0.1, longest_wait_seconds=0.2)
    lease = acquire(S3Storage(bucket, patience=patience), SECONDS)
    network.switch_off()
    wait_until_lost(lease)
    with pytest.raises(PcsearchError, match="is unreachable"):
        lease.check()
    network.switch_on()
    with pytest.raises(PcsearchError, match="is unreachable"):  # and stays so
        lease.check()
    lease.release()
    assert S3Storage(bucket, patience=PATIENCE).exists("lock/00000001")
