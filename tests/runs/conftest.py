"""The stores of `tests/storage`, for journals and runs that lie in them."""

from tests.storage.conftest import *  # noqa: F403
