"""A provider whose fake nodes keep jobs' files apart, as machines do."""

from __future__ import annotations

import secrets
from typing import Any

from ray._private import ray_constants
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class OwnFolders(FakeMultiNodeProvider):  # type: ignore[misc]
    """Ray's fake provider, whose nodes would empty the folder in which the head runs a job."""

    def create_node_with_resources_and_labels(self, *args: Any, **options: Any) -> Any:
        ray_constants.DEFAULT_RUNTIME_ENV_DIR_NAME = f"runtime_resources_{secrets.token_hex(2)}"
        return super().create_node_with_resources_and_labels(*args, **options)
