"""A result of checking a cluster file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fine", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one check; `remedy` says what to do unless it is fine."""

    level: Severity
    text: str
    remedy: str = ""
