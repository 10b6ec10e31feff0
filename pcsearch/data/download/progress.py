"""What a download tells whoever watches it."""

from __future__ import annotations

from typing import Literal, Protocol

Step = Literal["downloading", "checking", "unpacking"]


class DownloadProgress(Protocol):
    """Is told how far each step of each file is, and what happens besides."""

    def moved(self, step: Step, file: str, done_bytes: int, total_bytes: int | None) -> None:
        """Called often, from the calling thread.

        The first call of a step says where it begins: above 0 for a download that goes on where an
        earlier one ended. A download that has to start over falls back to 0.

        Args:
            step: what is being done.
            file: to which archive.
            done_bytes: how much is done, of the archive as it is stored.
            total_bytes: of how much, None while that is not known.
        """

    def noted(self, line: str) -> None:
        """A line to be shown: a retry, a mirror, a file that was found."""
