"""A training's checkpoints: when one is written, which are kept, which one is gone on from.

A file is named by the attempt and the epoch, `a0001-e00012.pt`. A worker that outlived a killed
driver belongs to an earlier attempt than the one that replaced it and so never overwrites, or
removes, a file of the later one.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from pcsearch.train.checkpoint import Checkpoint, Identity, load_checkpoint, save_checkpoint

KEPT = 2
"""Files that are kept: the newest, and the one before it, should the newest be damaged."""

LEAST_SECONDS = 2.0
"""Training between two checkpoints: what can be lost, and more than writing small ones takes."""

_COST = 20  # so many times what the last one took to write: 5 % of the time at most
_NAME = re.compile(r"a(\d{4,})-e(\d{5,})\.pt")
_log = logging.getLogger(__name__)


class Checkpoints:
    """The folder with one training's checkpoints.

    Args:
        folder: Made with the first checkpoint.
        attempt: How often the training was taken up again; later ones have larger numbers.
        every_seconds: Least time between two checkpoints; 0 writes one an epoch.
        at_the_end: Asked when a training is left before its last epoch: whether to write down the
            epochs since the last checkpoint. A trial that lost is not gone on with, so says no.
    """

    def __init__(
        self,
        folder: Path,
        attempt: int = 0,
        *,
        every_seconds: float = LEAST_SECONDS,
        at_the_end: Callable[[], bool] = lambda: False,
    ) -> None:
        self.folder = folder
        self.attempt = attempt
        self.at_the_end = at_the_end
        self._every = every_seconds
        self._wait = every_seconds
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the epoch that has just ended should be written down."""
        return time.monotonic() - self._last >= self._wait

    def save(self, checkpoint: Checkpoint, identity: Identity) -> None:
        """Write the state after `checkpoint`'s last epoch; then remove all but the newest two.

        Raises:
            TrialError: it cannot be written; the earlier ones are as they were.
        """
        epoch = checkpoint.records[-1].epoch
        path = self.folder / f"a{self.attempt:04d}-e{epoch:05d}.pt"
        began = time.monotonic()
        save_checkpoint(path, checkpoint, identity)
        self._last = time.monotonic()
        self._wait = max(self._every, _COST * (self._last - began) if self._every else 0.0)
        for old in list(self._newest_first(self.attempt))[KEPT:]:
            with suppress(OSError):
                old.unlink()

    def load(self, identity: Identity) -> Checkpoint | None:
        """The newest whole checkpoint of any attempt; None where there is none.

        Raises:
            TrialError: it belongs to a training of another identity, or may not be read.
        """
        self._last = time.monotonic()
        files = list(self._newest_first())
        for number, path in enumerate(files):
            checkpoint = load_checkpoint(path, identity)
            if checkpoint is not None:
                if number:
                    _log.warning("training goes on from the checkpoint before, %s", path)
                return checkpoint
        if files:
            _log.warning("%s holds no readable checkpoint; training starts anew", self.folder)
        return None

    def _newest_first(self, attempt: int | None = None) -> Iterator[Path]:
        """Files by epoch, then attempt, downwards; of no later attempt than the one given."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except OSError:
            return
        matches = [match for name in names if (match := _NAME.fullmatch(name))]
        known = [(int(match[2]), int(match[1]), match.string) for match in matches]
        for _, number, name in sorted(known, reverse=True):
            if attempt is None or number <= attempt:
                yield self.folder / name
