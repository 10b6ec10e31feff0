"""Whether a campaign on a virtual clock decides what a live one decided, given the same events."""

from __future__ import annotations

from collections.abc import Iterable

from pcsearch.search.campaign import Campaign
from pcsearch.search.journal.journal_file import Event, MemoryJournal
from pcsearch.search.plan import Plan


def first_difference(events: Iterable[Event], max_concurrent: int) -> str | None:
    """Drive a campaign by what happened in a recorded one; the first decision that is another.

    What happened is taken from the journal: when a slot became free, and which images were decoded
    there, what each epoch measured, what failed or was lost, which nodes there were, and the time.
    Everything decided is compared: who was asked with which values, who was stopped, what was
    chosen, closed or given up.

    Args:
        events: The journal of a campaign that was not gone on with.
        max_concurrent: Its trials at once.

    Returns:
        What differs, in a sentence, or None.
    """
    recorded = list(events)
    journal, now = MemoryJournal(), [0.0]
    campaign = Campaign(
        Plan.model_validate(recorded[0]["plan"]),
        journal,
        clock=lambda: now[0],
        max_concurrent=max_concurrent,
    )
    position = 1
    while position < len(recorded):
        event = recorded[position]
        now[0] = event["t"]
        _happens(campaign, event)
        written = journal.events[position:]
        if not written:
            return f"event {position + 1} was {_short(event)}, but nothing follows now"
        for other in written:
            if position >= len(recorded):
                return f"after the end follows {_short(other)}"
            if _decided(other) != _decided(recorded[position]):
                return (
                    f"event {position + 1} was {_short(recorded[position])}, but is now "
                    f"{_short(other)}"
                )
            position += 1
    return None


def _happens(campaign: Campaign, event: Event) -> None:
    kind = event["event"]
    if kind == "epoch":
        campaign.report(
            event["trial"],
            event["epoch"],
            event["value"],
            event["seconds"],
            event["metrics"],
            event.get("test"),
            hits=event.get("hits"),
            predictions=event.get("predictions"),
        )
    elif kind == "failed":
        campaign.fail(event["trial"], event["error"])
    elif kind == "diverged":
        campaign.diverge(event["trial"], event["error"])
    elif kind == "retried":
        campaign.lost(event["trial"], event["reason"], event["kind"])
    elif kind == "machines":
        campaign.machines(event["nodes"], event["slots"])
    elif kind == "ended":
        campaign.end(event["status"])
    else:  # asked, or the search was closed by a question
        before = len(campaign.state.trials)
        decoded = event.get("decoded", ())
        while campaign.next_trial(decoded) is not None and len(campaign.state.trials) == before:
            pass  # a trial that is begun again was asked before


def _decided(event: Event) -> Event:
    return {key: value for key, value in event.items() if key != "t"}


def _short(event: Event) -> str:
    what = event.get("trial") or event.get("spec", {}).get("trial") or event.get("arm", "")
    return f"{event['event']} {what} {event.get('decision', '')}".strip()
