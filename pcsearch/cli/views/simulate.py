"""Shows a simulated campaign."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pcsearch.cli.views.text import count, short_duration, sparkline
from pcsearch.search.plan import ArmPlan, StudyPlan
from pcsearch.search.state import ArmState
from pcsearch.search.trial import Phase, Trial
from pcsearch.simulation.outcome import Placement, Simulated

_PHASES: tuple[Phase, ...] = ("search", "finalists", "confirm")
_CURVE = 50


def simulation_view(simulated: Simulated, *, list_trials: bool = False) -> RenderableType:
    """Time, machines, cost, use over time, and the trials of each arm."""
    parts: list[RenderableType] = [_title(simulated), Text(), *_totals(simulated), Text()]
    parts += [*_use(simulated), Text(), _arms(simulated)]
    closed = simulated.state.search_closed
    if closed is not None:
        parts.append(Text(f"The search ended early: {closed}.", "yellow"))
    if list_trials:
        parts += [Text(), _trials(simulated)]
    else:
        parts.append(Text("--trials lists all trials with their times and nodes.", "dim"))
    return Group(*parts, Text())


def _title(simulated: Simulated) -> Text:
    model = simulated.cluster
    gpus = count(int(model.gpus_per_node), "GPU") if model.gpus_per_node else "no GPU"
    trials = count(model.slots_per_node, "trial")
    on = f"{count(model.nodes, 'node')} of {gpus}, {trials} each at once"
    return Text.assemble((simulated.state.plan.name, "bold"), f", simulated on at most {on}")


def _totals(simulated: Simulated) -> list[Text]:
    trials = simulated.state.trials.values()
    lost = sum(node.lost for node in simulated.nodes)
    rows = [
        ("makespan", short_duration(simulated.makespan_seconds)),
        ("nodes", f"{len(simulated.nodes)} started, {simulated.most_nodes} at once, {lost} lost"),
        (
            "node-hours",
            f"{simulated.node_seconds / 3600:,.2f}{_tail(simulated.tail_seconds / 3600)}",
        ),
    ]
    if simulated.cluster.gpus_per_node:
        rows.append(("GPU-hours", f"{simulated.gpu_seconds / 3600:,.2f}"))
    used = f"{100 * simulated.utilisation:.0f} % of the slots' paid time"
    if simulated.lost_seconds:
        used += f" ({simulated.lost_seconds / 3600:,.2f} slot-hours of it lost with nodes)"
    rows.append(("used", used))
    cost = "give --price of a node-hour"
    if simulated.cost is not None:
        cost = f"{simulated.cost:,.2f}{_tail(simulated.tail_cost or 0.0)}"
    rows.append(("cost", cost))
    epochs = sum(len(trial.epochs) for trial in trials)
    rows.append(("trained", f"{count(len(trials), 'trial')}, {count(epochs, 'epoch')}"))
    return [Text.assemble((f"{name:11}", "dim"), value) for name, value in rows]


def _tail(amount: float) -> str:
    """The part of an amount that pays for idle machines after the end."""
    said = f"{amount:,.2f}"
    return (
        ""
        if float(said.replace(",", "")) == 0
        else f" ({said} of it after the end, until idle nodes end)"
    )


def _use(simulated: Simulated) -> list[Text]:
    parts = simulated.timeline.means(simulated.makespan_seconds, _CURVE)
    most = max(simulated.timeline.there, default=0)
    # both scaled from 0 to the largest number of slots
    busy = sparkline([0.0, *(busy for busy, _ in parts), most], _CURVE + 2)[1:-1]
    there = sparkline([0.0, *(slots for _, slots in parts), most], _CURVE + 2)[1:-1]
    at_most = count(most, "slot")
    return [
        Text.assemble(("busy       ", "dim"), busy),
        Text.assemble(("there      ", "dim"), there, (f"  top: {at_most}", "dim")),
    ]


def _arms(simulated: Simulated) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("study", "arm"):
        table.add_column(name, overflow="fold")
    for name in ("search", "stopped", "finalists", "confirm", "epochs"):
        table.add_column(name, justify="right")
    state = simulated.state
    for study in state.plan.studies:
        for arm in study.arms:
            table.add_row(*_arm(study, arm, state.arms[study.id, arm.name]))
    return table


def _arm(study: StudyPlan, arm: ArmPlan, done: ArmState) -> tuple[str, ...]:
    trials: list[Trial] = [trial for phase in _PHASES for trial in done.trials[phase]]
    pruned = sum(trial.state == "PRUNED" for trial in trials)
    asked = [f"{len(done.trials[phase]):,}" for phase in _PHASES]
    search = asked[0] if arm.trials == len(done.trials["search"]) else f"{asked[0]}/{arm.trials:,}"
    epochs = f"{sum(len(trial.epochs) for trial in trials):,}"
    return (study.id, arm.name, search, f"{pruned:,}", *asked[1:], epochs)


def _trials(simulated: Simulated) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("trial", overflow="fold")
    for name in ("node", "from", "to", "epochs"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for stay in sorted(simulated.stays, key=_begin):
        trial = simulated.state.trials[stay.trial]
        how = "node lost" if stay.lost else _STATES[trial.state]
        epochs = "" if stay.lost else f"{trial.last_epoch}"
        begin, end = short_duration(stay.begin), short_duration(stay.end)
        table.add_row(stay.trial, f"{stay.node}", begin, end, epochs, how)
    return table


_STATES = {
    "COMPLETE": "complete",
    "PRUNED": "stopped early",
    "DIVERGED": "diverged",
    "FAILED": "failed",
    "RUNNING": "",
}


def _begin(stay: Placement) -> float:
    return stay.begin
