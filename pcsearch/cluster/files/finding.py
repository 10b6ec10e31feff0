"""What a look at a cluster file found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fine", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` says what to do where it is not fine."""

    level: Severity
    text: str
    remedy: str = ""
