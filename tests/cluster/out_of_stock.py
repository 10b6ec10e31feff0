"""A provider that never has a machine, as a cloud does whose spot capacity is used up."""

from __future__ import annotations

from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider

REASON = "InsufficientInstanceCapacity: there is no such machine in this zone now"


class OutOfStock(FakeMultiNodeProvider):  # type: ignore[misc]
    """Ray's fake provider, but for what starts a node."""

    def create_node_with_resources_and_labels(self, *args: Any, **options: Any) -> None:
        raise RuntimeError(REASON)
