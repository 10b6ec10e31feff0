"""Asking Ray's dashboard: at the address that is given, with the token, and not for ever."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pcsearch.cluster.auth import warn_if_readable
from pcsearch.errors import UserError

_ANSWER_SECONDS = 60.0
"""A request that waits for longer is given up: behind a forwarded port nobody may be there."""

_OTHER_ADDRESSES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Where these are set, Ray's clients go there in place of the address that they are given."""

_Answer = TypeVar("_Answer")


def asked(address: str, question: Callable[[], _Answer]) -> _Answer:
    """The answer of a question to Ray's clients.

    Raises:
        UserError: nothing answers there, it wants another token, or it refuses.
    """
    import requests
    from ray.exceptions import AuthenticationError
    from ray.util.state.exception import RayStateApiException

    try:
        with _as_given():
            return question()
    except AuthenticationError:
        raise UserError(
            f"the cluster at {address} wants another token; set RAY_AUTH_TOKEN_PATH to a file with "
            "its head's, by default ~/.ray/auth_token there"
        ) from None
    except (ConnectionError, requests.RequestException):
        raise UserError(
            f"no Ray dashboard answers at {address}; check the address (port 8265 by default), "
            "and that the cluster is up"
        ) from None
    except (RuntimeError, ValueError, RayStateApiException) as error:
        raise UserError(f"the cluster at {address} refuses: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """One line of what Ray says, which may be a traceback of its head's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if re.search(r"\b(status code|returned) 404\b", lines[0]):
        return "it has no jobs; is that the dashboard's port, 8265 by default?"
    return lines[-1] if any("Traceback" in line for line in lines) else lines[0]


def use_token() -> None:
    """As `ray.init` does, whatever RAY_AUTH_MODE says; UserError if there is no file as named."""
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )

    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named and not Path(named).expanduser().is_file():
        raise UserError(f"RAY_AUTH_TOKEN_PATH is {named}, but there is no such file")
    warn_if_readable()
    # It warns where there is a token, and says how to switch it off.
    logging.getLogger(maybe_enable_token_auth_if_token_available.__module__).setLevel(logging.ERROR)
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def impatient(client: type) -> Any:
    """Ray's class for jobs, which would wait for an answer for ever."""

    class Impatient(client):  # type: ignore[misc]
        def _do_request(self, *args: Any, **more: Any) -> Any:
            return super()._do_request(*args, **{"timeout": _ANSWER_SECONDS, **more})

    return Impatient


@contextlib.contextmanager
def _as_given() -> Iterator[None]:
    """Let Ray's clients go to the address that they are given, and to no other."""
    hidden = {key: os.environ.pop(key) for key in _OTHER_ADDRESSES if key in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
