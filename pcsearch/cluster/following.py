"""Following a campaign on a cluster, also over a connection that breaks now and then."""

from __future__ import annotations

import itertools
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from pcsearch.cluster.jobs import Job, Jobs, LostConnectionError, SilentError, UnknownJobError
from pcsearch.cluster.tunnel import dashboard_of
from pcsearch.errors import PcsearchError, UserError

PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 2.0


class Following:
    """What a job prints, line by line, until it ends; `job` is how it ended.

    Args:
        cluster: Its file, or its dashboard's address.
        job: Its id, or None for the latest campaign.
        patience_seconds: How long a lost connection is tried again.
    """

    def __init__(
        self, cluster: str, job: str | None, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._cluster = cluster
        self._patience = patience_seconds
        with dashboard_of(cluster) as address:
            self.job: Job = Jobs(address).find_submitted(job)

    def lines(self, lost: Callable[[], None]) -> Iterator[str]:
        """Yield each line once, whatever the connection does; `lost` is called when it breaks.

        A campaign may be silent for long, while its store is away for example: as long as the
        cluster answers and has the job, it is followed.

        Raises:
            PcsearchError: the connection stays broken, or the cluster has forgotten the job.
        """
        seen, answered = 0, time.monotonic()
        while True:
            try:
                with dashboard_of(self._cluster) as address:
                    jobs = Jobs(address)
                    self.job, answered = jobs.find(self.job.id), time.monotonic()
                    for line in itertools.islice(jobs.lines(self.job.id), seen, None):
                        seen, answered = seen + 1, time.monotonic()
                        yield line
                    self.job = jobs.find(self.job.id)
                answered = time.monotonic()
                if not self.job.runs:
                    return
            except SilentError:  # whether the connection broke shows when it is asked anew
                if not self.job.runs:
                    return
            except UnknownJobError as error:
                raise PcsearchError(
                    f"{self._cluster} was started anew, which ended {self.job.id}; what it had "
                    f"trained is kept. Go on with: {self.resume_command}"
                ) from error
            except (LostConnectionError, UserError) as error:
                if time.monotonic() - answered > self._patience:
                    raise PcsearchError(
                        f"the connection to {self._cluster} is lost ({error}); if its head lives, "
                        f"the campaign goes on. Follow it again with: {self.attach_command}"
                    ) from error
                lost()
                time.sleep(_PAUSE_SECONDS)

    @property
    def resume_command(self) -> str:
        """What to type to go on with its run on the cluster."""
        run, runs = self.job.metadata.get("name") or "RUN", self.job.metadata.get("runs", "")
        words = ["pcsearch", "cluster", "submit", self._cluster, "--resume"]
        # a run that was gone on with by its address has that in place of where runs are kept
        own = [runs] if PurePosixPath(runs).name == run else [run, "--runs", runs]
        return shlex.join([*words, *own])

    @property
    def attach_command(self) -> str:
        """What to type to follow it again."""
        return f"pcsearch cluster attach {shlex.quote(self._cluster)} {self.job.id}"
