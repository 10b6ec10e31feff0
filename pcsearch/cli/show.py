"""`pcsearch show`: one trial, image or class of a run in detail."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcsearch.cli import completion
from pcsearch.cli.options import RUNS, Json, Run, Runs, examples
from pcsearch.errors import UserError, did_you_mean
from pcsearch.printable import encodable, printable

if TYPE_CHECKING:
    from pcsearch.reporting.image_details import StudyPredictions
    from pcsearch.runs.folder import RunFolder
    from pcsearch.search.state import CampaignState

EPILOG = examples(
    "pcsearch show first-try",
    "pcsearch show first-try pc/search-003",
    "pcsearch show first-try heron_0017.jpg",
    'pcsearch show first-try "grey heron" --json',
)
_What = Annotated[
    str | None,
    typer.Argument(
        metavar="[TRIAL|IMAGE|CLASS]",
        help="A trial, a test image or a class: its name, or a part of the name that no other has. "
        "Without it, what can be shown.",
        show_default=False,
        autocompletion=completion.trials_of_run,
    ),
]
_AMBIGUOUS_AT_MOST = 10
_LISTED_AT_MOST = 6


def show(run: Run = None, what: _What = None, runs: Runs = RUNS, as_json: Json = False) -> None:
    """Show one trial, test image or class of a run in detail.

    A trial: its configuration, its curve, its rungs, its state and times. An image: its label, and
    what each arm predicted with each seed. A class: its accuracy in each arm, and its images that
    were taken for another class.

    Images and classes need the predictions of confirm trials, which older runs did not keep. A part
    of a path is enough: heron_0017 finds test/grey_heron/heron_0017.jpg.
    """
    from pcsearch.runs.find import find_run

    folder = find_run(run, runs)
    state = folder.state()
    if what is None:
        _overview(folder, state, as_json)
        return
    word = encodable(what)
    trials = matches(word, list(state.trials), _ends)
    if len(trials) == 1:
        _trial(folder, state, trials[0], as_json)
        return
    if trials:
        raise _ambiguous(word, "trials", trials)
    _image_or_class(folder, state, word, as_json)


_Rule = Callable[[str, str], bool]


def matches(word: str, names: Sequence[str], *looser: _Rule) -> list[str]:
    """The names that a word means: the same, else the same but for case, else by a looser rule."""
    rules: tuple[_Rule, ...] = (
        lambda word, name: name == word,
        lambda word, name: name.casefold() == word.casefold(),
        *looser,
    )
    for rule in rules:
        found = [name for name in dict.fromkeys(names) if rule(word, name)]
        if found:
            return found
    return []


def _ends(word: str, name: str) -> bool:
    """Whether these are the name's last words: `pc/search-003`, `heron_0017.jpg`."""
    return name.endswith(f"/{word.strip('/')}")


def _is_stem(word: str, name: str) -> bool:
    return name.rpartition("/")[2].rpartition(".")[0] == word


def _has(word: str, name: str) -> bool:
    return word.casefold() in name.casefold()


def _ambiguous(word: str, kind: str, found: Sequence[str]) -> UserError:
    listed = "\n".join(f"  {name}" for name in found[:_AMBIGUOUS_AT_MOST])
    more = len(found) - _AMBIGUOUS_AT_MOST
    rest = f"\n  and {more} more" if more > 0 else ""
    return UserError(f'"{word}" means {len(found)} {kind}; name one of them:\n{listed}{rest}')


def _trial(folder: RunFolder, state: CampaignState, name: str, as_json: bool) -> None:
    from pcsearch.cli.console import console, write_json
    from pcsearch.reporting.summary import trial_rows
    from pcsearch.reporting.trial_details import trial_details

    details = trial_details(folder.events(), name)
    if as_json:
        row = next(row for row in trial_rows(state) if row["trial"] == name)
        write_json({"kind": "trial", **row, **details.to_json()}, indent=2)
        return
    from pcsearch.reporting.details_tables import trial_view

    running = bool(state.running) and folder.status(state, quick=True) == "running"
    console().print(trial_view(details, state.plan, running=running))


@dataclass(frozen=True)
class _Kept:
    """The predictions of every study that has some."""

    studies: tuple[StudyPredictions, ...]
    problems: tuple[str, ...]

    @staticmethod
    def of(folder: RunFolder, state: CampaignState) -> _Kept:
        from pcsearch.reporting.image_details import StudyPredictions

        read = folder.read_bytes
        all_ = [StudyPredictions(state, study, read) for study in state.plan.studies]
        problems = tuple(problem for one in all_ for problem in one.problems)
        return _Kept(tuple(one for one in all_ if one.class_names), problems)

    @property
    def class_names(self) -> list[str]:
        return [name for one in self.studies for name in one.class_names]

    @property
    def image_names(self) -> list[str]:
        return [name for one in self.studies for name in one.image_names]


def _image_or_class(folder: RunFolder, state: CampaignState, word: str, as_json: bool) -> None:
    """Show the class of this name, else the image, else the class or image with this part."""
    kept = _Kept.of(folder, state)
    classes = matches(word, kept.class_names)
    images = [] if classes else matches(word, kept.image_names, _ends, _is_stem)
    if not classes and not images:  # images are often in a folder named like their class
        classes = matches(word, kept.class_names, _has)
        images = [] if classes else matches(word, kept.image_names, _has)
    found = classes or images
    if not found:
        raise _unknown(word, folder, state, kept)
    if len(found) > 1:
        raise _ambiguous(word, "classes" if classes else "test images", found)
    (name,) = found
    _print(kept, name, as_json, is_class=bool(classes))


def _print(kept: _Kept, name: str, as_json: bool, *, is_class: bool) -> None:
    from pcsearch.cli.console import console, note, write_json
    from pcsearch.reporting.details_tables import class_view, image_view

    terminal, rows = console(), []
    for study in kept.studies:
        if name not in (study.class_names if is_class else study.image_names):
            continue
        details: Any = study.of_class(name) if is_class else study.image(name)
        rows.append(details.to_json())
        if not as_json:
            if len(rows) > 1:
                terminal.print()
            terminal.print((class_view if is_class else image_view)(details))
        for problem in study.problems:
            note(f"{problem}; it is left out")
    if as_json:
        write_json({"kind": "class" if is_class else "image", "studies": rows}, indent=2)


def _unknown(word: str, folder: RunFolder, state: CampaignState, kept: _Kept) -> UserError:
    where = f'no trial, test image or class is named "{word}"'
    short = [name.partition("/")[2].partition("/")[2] for name in state.trials]
    names = [*state.trials, *short, *kept.class_names, *kept.image_names]
    names += [name.rpartition("/")[2] for name in kept.image_names]
    hint = did_you_mean(word, names)
    if not kept.studies:
        return UserError(f"{where}{hint}; {_no_predictions(folder, state, kept)}")
    return UserError(f"{where}{hint}; `{_command('show', folder)}` lists what can be shown")


def _command(name: str, folder: RunFolder) -> str:
    from pcsearch.runs.folder import shown_address

    return f"pcsearch {name} {shlex.quote(shown_address(folder.address))}"


def _no_predictions(folder: RunFolder, state: CampaignState, kept: _Kept) -> str:
    """Why there are no images and classes to show, and what can be shown."""
    rest = f"trials can be shown, `{_command('trials', folder)}` lists them"
    if kept.problems:
        return f"the predictions cannot be used ({kept.problems[0]}), so only {rest}"
    tested = [trial for trial in state.trials.values() if trial.test is not None]
    if not tested:
        return f"no confirm trial has ended, so there are no predictions yet; {rest}"
    return f"this run keeps no predictions (it was made before they were kept), so only {rest}"


def _overview(folder: RunFolder, state: CampaignState, as_json: bool) -> None:
    """What can be shown."""
    from pcsearch.cli.console import console, write_json

    kept = _Kept.of(folder, state)
    if as_json:
        studies = [
            {
                "study": one.study,
                "classes": list(one.class_names),
                "images": list(one.image_names),
            }
            for one in kept.studies
        ]
        write_json({"kind": "run", "trials": list(state.trials), "studies": studies}, indent=2)
        return
    from rich.text import Text

    terminal = console()
    for line in _overview_lines(folder, state, kept):
        terminal.print(Text(line))


def _overview_lines(folder: RunFolder, state: CampaignState, kept: _Kept) -> Iterator[str]:
    all_trials = f"`{_command('trials', folder)}` lists all"
    yield from _listed("trials", list(state.trials), all_trials)
    for study in kept.studies:
        yield from _listed(f"classes of {study.study}", study.class_names, "--json lists all")
        images = study.image_names or ("(their names are not known)",)
        yield from _listed(f"test images of {study.study}", images, "--json lists all")
    if not kept.studies:
        why = _no_predictions(folder, state, kept)
        yield why[:1].upper() + why[1:] + "."
    elif kept.problems:
        yield f"{kept.problems[0]}; it is left out."
    yield f"Show one with: {_command('show', folder)} NAME"


def _listed(title: str, names: Sequence[str], rest: str) -> Iterator[str]:
    """The number of names, and the first ones, one a line: names may have commas."""
    yield f"{len(names)} {title}:"
    shown = names if len(names) <= _LISTED_AT_MOST else names[: _LISTED_AT_MOST - 1]
    yield from (f"  {printable(name)}" for name in shown)
    if len(names) > len(shown):
        yield f"  ... {rest}"
