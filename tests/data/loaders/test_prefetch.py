from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.data.loaders.transfer import prefetched


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pcsearch-prefetch"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert threads() == []


@given(st.lists(st.integers()), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_same_items_in_order(items: list[int], depth: int) -> None:
    assert list(prefetched(items, depth)) == items
    assert threads() == []


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_closed_early_no_thread_is_left(length: int, taken: int, depth: int) -> None:
    with closing(prefetched(range(length), depth)) as items:
        for _ in zip(range(taken), items, strict=False):
            pass
    assert threads() == []


def test_runs_in_another_thread_and_never_far_ahead() -> None:
    made: list[int] = []
    makers: set[int] = set()

    def numbers() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            makers.add(threading.get_ident())
            yield number

    with closing(prefetched(numbers(), 3)) as items:
        assert made == []  # nothing before the first item is asked for
        for taken, _ in enumerate(items, start=1):
            deadline = time.monotonic() + 5
            while len(made) < min(taken + 4, 20) and time.monotonic() < deadline:
                time.sleep(0.001)
            assert len(made) == min(taken + 4, 20)  # 3 ready and one being handed over
    assert threading.get_ident() not in makers


def test_an_error_comes_after_the_items_before_it() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    items = prefetched(numbers(), 1)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)


def test_an_error_of_the_consumer_ends_the_thread() -> None:
    def consume() -> None:
        with closing(prefetched(iter(range(100)), 2)) as items:
            for number in items:
                raise KeyError(number)

    with pytest.raises(KeyError):
        consume()
    assert threads() == []


def test_closed_while_an_item_is_being_made() -> None:
    started, go_on = threading.Event(), threading.Event()

    def numbers() -> Iterator[int]:
        yield 0
        started.set()
        assert go_on.wait(5)
        yield 1

    items = prefetched(numbers(), 1)
    assert next(items) == 0
    assert started.wait(5)
    threading.Timer(0.05, go_on.set).start()
    items.close()
    assert threads() == []


def test_an_error_after_closing_is_dropped() -> None:
    started, go_on = threading.Event(), threading.Event()

    def numbers() -> Iterator[int]:
        yield 0
        started.set()
        assert go_on.wait(5)
        raise OSError("too late")

    items = prefetched(numbers(), 1)
    next(items)
    assert started.wait(5)
    threading.Timer(0.05, go_on.set).start()
    items.close()


def test_dropped_without_closing() -> None:
    items = prefetched(iter(range(100)), 2)
    next(items)
    del items
    gc.collect()
    assert threads() == []


def test_depth_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="depth is 0"):
        next(prefetched([1], 0))
