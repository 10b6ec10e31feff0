"""How a campaign ended, written down whatever happened."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pcsearch.errors import NodeError, UserError
from pcsearch.results.store import RunFolder
from pcsearch.results.summary import summarise
from pcsearch.search.campaign import Campaign
from pcsearch.search.observer import Observer
from pcsearch.search.state import Status
from pcsearch.storage import StorageError, TakenOverError


@contextlib.contextmanager
def ended_well(
    campaign: Campaign, folder: RunFolder, observer: Observer, go_on: str
) -> Iterator[Callable[[bool], None]]:
    """Write down how a campaign ended, whatever happened.

    Yields what to call with whether it is done; not called, it was interrupted. `go_on` is what to
    type to go on with it.
    """
    status: Status = "interrupted"

    def end(complete: bool) -> None:
        nonlocal status
        status = status_of(campaign) if complete else "interrupted"

    try:
        yield end
        _write_end(campaign, folder, status)
    except TakenOverError:
        raise  # another process goes on with it
    except StorageError as error:  # the end cannot be written either
        raise StorageError(f"{error}. Then go on with: {go_on}") from error
    except NodeError as error:
        _write_end(campaign, folder, status)
        raise UserError(
            f"{error}. What was run until then is kept; when that is mended, go on with: {go_on}"
        ) from error
    except BaseException as error:
        if isinstance(error, OSError) and _is_in(folder.path, error.filename):
            raise UserError(
                f"{folder.address} can no longer be written ({error.strerror or error}): what the "
                "journal holds is whole. Free some space or mend its permissions, then go on "
                f"with: {go_on}"
            ) from error
        with contextlib.suppress(Exception):
            _write_end(campaign, folder, status)
        raise
    finally:
        observer.finished(status)


def _is_in(folder: Path, filename: object) -> bool:
    """Whether an error is about a file there; one of a closed pipe, say, names none."""
    if not isinstance(filename, str | bytes):
        return False
    return Path(os.fsdecode(filename)).absolute().is_relative_to(folder.absolute())


def _write_end(campaign: Campaign, folder: RunFolder, status: Status) -> None:
    campaign.end(status)
    folder.finish(summarise(campaign.state).to_json(), whole=campaign.done)


def status_of(campaign: Campaign) -> Status:
    """How a campaign that is done ended."""
    return "failed" if campaign.state.failed_studies() else "complete"
