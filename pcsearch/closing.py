"""How a campaign ended, written down whatever happened."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from pcsearch.errors import UserError
from pcsearch.results.store import RunFolder, resume_command
from pcsearch.results.summary import summarise
from pcsearch.search.campaign import Campaign
from pcsearch.search.observer import Observer
from pcsearch.search.state import Status
from pcsearch.storage import StorageError


@contextlib.contextmanager
def ended_well(
    campaign: Campaign, folder: RunFolder, observer: Observer
) -> Iterator[Callable[[bool], None]]:
    """Write down how a campaign ended, whatever happened; yields what to call with whether it is
    done. Not called, it was interrupted."""
    status: Status = "interrupted"

    def end(complete: bool) -> None:
        nonlocal status
        status = status_of(campaign) if complete else "interrupted"

    try:
        yield end
        _write_end(campaign, folder, status)
    except OSError as error:
        raise UserError(
            f"{folder.address} can no longer be written ({error.strerror or error}): what the "
            "journal holds is whole. Free some space or mend its permissions, then go on with: "
            + resume_command(folder.address)
        ) from error
    except StorageError:
        raise  # another process goes on with it, or its end cannot be written anyway
    except BaseException:
        with contextlib.suppress(Exception):
            _write_end(campaign, folder, status)
        raise
    finally:
        observer.finished(status)


def _write_end(campaign: Campaign, folder: RunFolder, status: Status) -> None:
    campaign.end(status)
    folder.finish(summarise(campaign.state).to_json(), whole=campaign.done)


def status_of(campaign: Campaign) -> Status:
    """How a campaign that is done ended."""
    return "failed" if campaign.state.failed_studies() else "complete"
