"""The cache of decoded images: building, opening, listing and evicting its stores."""

from __future__ import annotations

from pcsearch.data.cache.eviction import (
    Evicted,
    StoreInfo,
    clear_stores,
    default_cache_folder,
    list_stores,
    size_limit_bytes,
)
from pcsearch.data.cache.metadata import Aspect
from pcsearch.data.cache.store import (
    BadImagesError,
    ImageStore,
    OnBadImage,
    Progress,
    ensure_store,
    fingerprints_of,
    open_store,
)

__all__ = [
    "Aspect",
    "BadImagesError",
    "Evicted",
    "ImageStore",
    "OnBadImage",
    "Progress",
    "StoreInfo",
    "clear_stores",
    "default_cache_folder",
    "ensure_store",
    "fingerprints_of",
    "list_stores",
    "open_store",
    "size_limit_bytes",
]
