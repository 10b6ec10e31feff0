"""The next few items made in a background thread while the current one is worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Made(Generic[Item]):
    item: Item


@dataclass(frozen=True)
class _Ended:
    """The last thing in the queue, with what went wrong."""

    error: BaseException | None


def prefetched(items: Iterable[Item], depth: int) -> Generator[Item]:
    """The items in their order, of which up to `depth` are ready and one more is being made.

    The thread starts with the first `next` and has ended when the iterator is exhausted, closed
    or dropped. An exception of `items` is raised here, after the items before it.
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}, but must be at least 1")
    ready: queue.Queue[_Made[Item] | _Ended] = queue.Queue(depth)
    stop = threading.Event()
    # daemon: an iterator that nobody closes must not keep the interpreter from ending
    thread = threading.Thread(
        target=_make, args=(items, ready, stop), name="pcsearch-prefetch", daemon=True
    )
    thread.start()
    try:
        while isinstance(made := ready.get(), _Made):
            yield made.item
        if made.error is not None:
            raise made.error
    finally:
        stop.set()
        while not ready.empty():  # makes room for the one `put` that may be waiting
            ready.get_nowait()
        thread.join()


def _make(
    items: Iterable[Item], ready: queue.Queue[_Made[Item] | _Ended], stop: threading.Event
) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            ready.put(_Made(item))
            if stop.is_set():
                return
    except BaseException as raised:
        error = raised
    if not stop.is_set():
        ready.put(_Ended(error))
