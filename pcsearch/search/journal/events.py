"""The journal's events: the keys, types and bounds of each kind.

A journal may come from another machine or version, and a file may be damaged. So an event is
refused unless a campaign could have written its keys, types and values. `validate.py` checks
whether it fits the events before it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pcsearch.recipe.problems import show
from pcsearch.search.plan import LibraryVersion
from pcsearch.search.trial import FailureKind, Phase

Event = dict[str, Any]

_BRANCHES = ("constrained-int", "constrained-float")
"""Pydantic's names for the branches of a union. Messages omit them."""

LARGEST_INTEGER = 10**9
"""The largest count or index, as in recipes."""

_DATASET = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_BACKBONE = r"(?:[A-Za-z_][\w.]*(?::[A-Za-z_]\w*)?|timm/\w+(?:\.[\w-]+)?)"
_ARM = r"[A-Za-z][A-Za-z0-9_+-]*"
_LATER_CHOICE = re.compile(r"-c(?:[2-9]|[1-9][0-9]{1,8})")

StudyId = Annotated[str, Field(pattern=f"^{_DATASET}/{_BACKBONE}$", max_length=300)]
Decoded = Annotated[
    list[Annotated[str, Field(pattern=f"^{_DATASET}$", max_length=300)]],
    Field(min_length=1, max_length=10_000),
]
"""Datasets whose images were on the node with the free slot; absent if none was known."""

ArmName = Annotated[str, Field(pattern=f"^{_ARM}$", max_length=100)]
CountField = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
_FromOne = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
SeedField = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Percent = Annotated[float, Field(ge=-1e9, le=1e9)]  # a metric may leave [0, 100] by rounding
_Metrics = Annotated[dict[str, float | None], Field(max_length=1000)]
"""Measures; None is a number that was not finite."""


def _configuration(config: dict[str, int | float | None]) -> dict[str, int | float | None]:
    """A configuration must have λ, λ/N, a seed and a split. The split is None in confirm."""
    for key in ("lambda", "lambda_over_n"):
        if config.get(key) is None:
            raise ValueError(f"has no {key}")
    seed, split = config.get("seed"), config.get("split", "")
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ValueError("has no seed that is a whole number of 0 or more")
    if split is not None and not (isinstance(split, int) and 0 <= split <= LARGEST_INTEGER):
        raise ValueError("has no split that is null or a whole number of 0 or more")
    return config


Value = Annotated[float, Field(ge=-1e300, le=1e300)]
WholeField = Annotated[int, Field(ge=-(10**15), le=10**15)]
ConfigField = Annotated[
    dict[str, WholeField | Value | None], Field(max_length=1000), AfterValidator(_configuration)
]


class NewerError(ValueError):
    """An event that this version does not know, but a later one may."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: was this written by a newer pcsearch? environment.json names its version"
        )


class _Strict(BaseModel):
    """Converts no value and ignores no key."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class SpecFields(_Strict):
    """`TrialSpec` in the journal."""

    trial: Annotated[str, Field(max_length=500)]
    study: StudyId
    arm: ArmName
    phase: Phase
    index: CountField
    epochs: _FromOne
    variant: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=100)]
    config: ConfigField
    source: str | None
    keep_weights: bool

    def check_name(self) -> None:
        """Check that the trial's id follows from its fields; it names the checkpoint folder."""
        stem = f"{self.study}/{self.arm}/{self.phase}-{self.index:03d}"
        suffix = self.trial.removeprefix(stem)
        if self.trial != stem and (suffix == self.trial or not _LATER_CHOICE.fullmatch(suffix)):
            raise ValueError(f"spec.trial is {show(self.trial)}, but must be {show(stem)}")


class _Timed(_Strict):
    t: Seconds


class CampaignEvent(_Timed):
    event: Literal["campaign"]
    plan: dict[str, Any]


class Asked(_Timed):
    event: Literal["asked"]
    spec: SpecFields
    decoded: Decoded = Field(default_factory=list)


class KeptFile(_Strict):
    """A file that a trial wrote: its hash, or why it could not be written."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    error: str | None = None


class Epoch(_Timed):
    event: Literal["epoch"]
    trial: str
    epoch: _FromOne
    value: Percent | None
    decision: Literal["continue", "prune", "complete"]
    seconds: Seconds
    metrics: _Metrics
    test: _Metrics | None = None
    hits: Annotated[str, Field(max_length=2_000_000, pattern=r"^[A-Za-z0-9+/]*={0,2}$")] | None = (
        None
    )
    """Which test images were classified correctly: packed bits in base64."""
    weights_error: str | None = None
    """Why the trial's weights could not be written; None if they were, or were not asked."""
    predictions: KeptFile | None = None
    """Its predictions; None before the last epoch, in a search, and in version 0.1.0."""


class Diverged(_Timed):
    """A trial whose loss or outputs were not finite. The sampler gets the value of guessing."""

    event: Literal["diverged"]
    trial: str
    error: str


class Failed(_Timed):
    event: Literal["failed"]
    trial: str
    error: str


class Chosen(_Timed):
    event: Literal["chosen"]
    study: str
    arm: str
    config: ConfigField
    source: str
    edge: Literal["low", "high"] | None
    score: Percent | None
    values: Annotated[list[Percent], Field(max_length=10_000)]
    edges: Annotated[dict[str, Literal["low", "high"]], Field(max_length=100)] = Field(
        default_factory=dict
    )
    """Searched values at an end of their range, each with that end."""


class LookedAtGain(_Strict):
    """One arm's gain over the control at a look; None if it could not be computed."""

    mean: Percent
    low: Percent | None
    high: Percent | None
    p_value: Annotated[float, Field(ge=0, le=1)] | None
    word: Annotated[str, Field(max_length=100)]


class Looked(_Timed):
    """A look: every arm's confirm trials had ended, and the gains were computed."""

    event: Literal["looked"]
    study: str
    seeds: _FromOne
    alpha: Annotated[float, Field(gt=0, lt=1)]
    gains: Annotated[dict[str, LookedAtGain], Field(max_length=100)]
    decided: bool


class GivenUp(_Timed):
    event: Literal["given_up"]
    study: str
    arm: str
    reason: str


class SearchClosed(_Timed):
    event: Literal["search_closed"]
    reason: str
    decoded: Decoded = Field(default_factory=list)


class Ended(_Timed):
    event: Literal["ended"]
    status: Literal["complete", "interrupted", "failed"]


class Resumed(_Timed):
    event: Literal["resumed"]
    attempt: _FromOne
    host: Annotated[str, Field(max_length=300)]
    pid: _FromOne
    version: Annotated[str, Field(max_length=100)]
    sampler_version: LibraryVersion | None = None
    """The library that proposes trials from now on; None if the journal does not say."""


class Extended(_Timed):
    event: Literal["extended"]
    plan: dict[str, Any]
    recipe: str


class Retried(_Timed):
    event: Literal["retried"]
    trial: str
    reason: str
    kind: FailureKind


class Repeated(_Timed):
    event: Literal["repeated"]
    trial: str
    epoch: _FromOne
    seconds: Seconds
    same: bool


class Machines(_Timed):
    """The number of nodes with room for trials from now on, and of slots on them."""

    event: Literal["machines"]
    nodes: CountField
    slots: CountField


_KINDS: dict[str, type[_Timed]] = {
    "campaign": CampaignEvent,
    "asked": Asked,
    "epoch": Epoch,
    "diverged": Diverged,
    "failed": Failed,
    "chosen": Chosen,
    "looked": Looked,
    "given_up": GivenUp,
    "search_closed": SearchClosed,
    "ended": Ended,
    "resumed": Resumed,
    "extended": Extended,
    "retried": Retried,
    "repeated": Repeated,
    "machines": Machines,
}


def check_event(raw: object) -> Event:
    """The event, if a campaign could have written it.

    Raises:
        ValueError: the event is wrong; one line says how.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("event"), str):
        raise ValueError("it is not an event")
    kind = _KINDS.get(raw["event"])
    if kind is None:
        raise NewerError(f"it is an event of unknown kind {show(raw['event'])}")
    try:
        event = kind.model_validate(raw)
    except ValidationError as error:
        raise told(error) from None
    if isinstance(event, Asked):
        event.spec.check_name()
    return raw


def told(error: ValidationError, whose: str = "its") -> ValueError:
    """The first of pydantic's errors, in one line."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part not in _BRANCHES)
    if first["type"] == "extra_forbidden":
        return NewerError(f"{whose} key {show(place)} is unknown")
    if first["type"] == "missing":
        return ValueError(f"{whose} {place} is missing")
    if first["type"] == "value_error":
        return ValueError(f"{whose} {place} {first['ctx']['error']}")
    message = first["msg"]
    message = message[:1].lower() + message[1:]
    return ValueError(f"{whose} {place} is {show(first['input'])}: {message}")
