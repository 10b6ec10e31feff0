"""Which code a recipe may run: only modules that the user has allowed outside the recipe.

A recipe or a run may come from anybody, and `module:function` with its options is code. So a module
is imported only after it is allowed: by `--allow-code MODULE`, by the environment variable
PCSEARCH_ALLOW_CODE, or, for a run started on this machine, by the consent recorded at its start.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

from pcsearch.errors import UserError, did_you_mean
from pcsearch.io import home_folder, read_regular, replacing

VARIABLE = "PCSEARCH_ALLOW_CODE"
"""Modules, separated by commas; applies to the process and its children."""

INSTALLED = "installed:"
"""Prefix of a package from site-packages: a bare name never means one of those."""

REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_CONSENT = re.compile(rf"({INSTALLED})?[^\W\d]\w*")
_NEVER = frozenset({"torch", "torchgen", "functorch", "pcsearch", "test", *sys.stdlib_module_names})
_RUN_SIGNS = ("journal.jsonl", "environment.json")
_CODE = (".py", ".so", ".pyd")
_RECORD_BYTES = 1_000_000
_CODE_BYTES = 2_000_000_000  # of one file: extension modules are large


@dataclass(frozen=True)
class OwnModule:
    """A top-level module or package, found without importing it.

    Attributes:
        name: As Python imports it.
        file: The real path of its file, or of its folder.
        installed: Whether it is in site-packages, so not the user's own code.
    """

    name: str
    file: Path
    installed: bool

    @property
    def consent(self) -> str:
        """The name that allows it."""
        return f"{INSTALLED}{self.name}" if self.installed else self.name


def is_reference(name: str) -> bool:
    """Whether `name` is meant as `module:function`."""
    return ":" in name


def allow(modules: Iterable[str]) -> None:
    """Allow modules for the rest of this process and for the processes it starts.

    Args:
        modules: Names of top-level modules beside the working directory or on PYTHONPATH;
            `installed:NAME` for one from site-packages.

    Raises:
        UserError: not a module's name.
    """
    for name in (more := list(modules)):
        if not _CONSENT.fullmatch(name):
            raise UserError(
                f'--allow-code "{name}" must be the name of a module, as in my_models (or '
                f"{INSTALLED}timm for a package from site-packages)"
            )
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*allowed(), *more]))


def allowed() -> tuple[str, ...]:
    """What this process may import for a recipe."""
    names = os.environ.get(VARIABLE, "").split(",")
    return tuple(name.strip() for name in names if name.strip())


def check_allowed(reference: str) -> OwnModule:
    """The module of `module:function`, if it may be imported; imports nothing.

    Raises:
        UserError: ill-formed, not found, not allowed, inside a run, or part of Python, PyTorch or
            pcsearch itself.
    """
    if not REFERENCE.fullmatch(reference):
        raise UserError(
            f'"{reference}" is not of the form module:function, as in my_models:small_net'
        )
    module = _located(reference)
    for folder in module.file.parents:
        if any((folder / sign).exists() for sign in _RUN_SIGNS):
            raise UserError(
                f'"{reference}": {module.file} is inside the run {folder}, whose files '
                "are never executed; move the module elsewhere"
            )
    if module.consent not in allowed():
        raise UserError(
            f'"{reference}" is code, from {module.file}, and is not allowed here. '
            f"Read it; if you trust it and the recipe, add --allow-code {module.consent}"
        )
    return module


def own_modules(names: Iterable[str]) -> list[OwnModule]:
    """The modules that `module:function` names mean, after checking that all are allowed.

    Raises:
        UserError: as `check_allowed`, for each that is not.
    """
    modules, problems = [], []
    for name in filter(is_reference, names):
        try:
            modules.append(check_allowed(name))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return modules


def check_outside(run: Path, names: Iterable[str]) -> None:
    """Refuse modules inside the run that names them.

    Raises:
        UserError: one does.
    """
    for reference in filter(REFERENCE.fullmatch, filter(is_reference, names)):
        module = _found(reference.partition(":")[0].partition(".")[0])
        if module is not None and module.file.is_relative_to(run.resolve()):
            raise UserError(
                f'"{reference}": {module.file} is inside the run itself, whose files '
                "are never executed; move the module elsewhere"
            )


def code_of(names: Iterable[str]) -> dict[str, str]:
    """A hash of each allowed module that `module:function` names mean, and of pcsearch."""
    modules = {module.name for module in own_modules(names)}
    return {name: code_hash(name) for name in ("pcsearch", *sorted(modules))}


def check_unchanged(names: Iterable[str], began_with: Mapping[str, object]) -> None:
    """Refuse to go on with other code than a run began with.

    Args:
        names: As for `own_modules`.
        began_with: Hashes of modules, from `code_of`. A module without one is not checked.

    Raises:
        UserError: a module has changed.
    """
    for module in own_modules(names):
        if began_with.get(module.name, now := code_hash(module.name)) != now:
            raise UserError(
                f"{module.name} ({module.file}) has changed since the run began, so further trials "
                "would not be comparable: restore it, or start a new run: pcsearch tune, with "
                "another --name"
            )


def code_hash(name: str) -> str:
    """SHA-256 of the Python files and extension modules of a top-level module, "" if missing.

    Two processes with the same hash would import the same code.
    """
    found = _found(name)
    if found is None:
        return ""
    digest = hashlib.sha256()
    folder = found.file if found.file.is_dir() else found.file.parent
    files = sorted(folder.rglob("*")) if found.file.is_dir() else [found.file]
    for file in files:
        if file.suffix in _CODE and file.is_file():
            content = hashlib.sha256(read_regular(file, _CODE_BYTES)).hexdigest()
            digest.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def remember(run: Path, options: Mapping[str, object]) -> None:
    """Record that a run on this machine may import the modules it starts with.

    Without a home folder that can be written, a resume asks for consent again.

    Args:
        run: Its folder.
        options: Name → its options; only `module:function` names count.
    """
    modules = own_modules(options)
    if not modules:
        return
    begun, calls = str(run.resolve()), _calls(options)
    entries = [entry for entry in _record() if entry[0] != begun]
    entries += [(begun, calls, one.consent, str(one.file)) for one in modules]
    with contextlib.suppress(OSError), replacing(_record_file()) as file:
        file.touch(mode=0o600)
        file.write_text(json.dumps(sorted(set(entries)), indent=1), encoding="utf-8")


def recall(run: Path, options: Mapping[str, object]) -> None:
    """Allow the modules that a run started with on this machine: same calls, same files.

    A stranger's run in the folder's place either has other calls, or calls only what was allowed.
    """
    here = str(run.resolve()), _calls(options)
    for begun, calls, consent, file in _record():
        if (begun, calls) == here:
            found = _found(consent.removeprefix(INSTALLED))
            if found is not None and (found.consent, str(found.file)) == (consent, file):
                allow([consent])


def find_function(reference: str) -> Callable[..., object]:
    """The function `module:function`, from a module that the user has allowed.

    Modules in the working directory count. Functions that the module imports do not: through them
    a recipe could run any Python code.

    Raises:
        UserError: the reference is ill-formed, is not allowed, cannot be imported, or names no
            function that the module defines.
    """
    own = check_allowed(reference)
    module_name, _, path = reference.partition(":")
    with importable(own):
        try:
            found: object = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            raise UserError(
                f'"{reference}": importing {module_name} failed '
                f"({type(error).__name__}: {error}); is it in the working directory, {Path.cwd()}, "
                "on PYTHONPATH or installed?"
            ) from error
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            hint = did_you_mean(attribute, [key for key in dir(found) if key[0] != "_"])
            raise UserError(f'"{reference}": there is no "{attribute}" in it{hint}')
        found = getattr(found, attribute)
    if not callable(found):
        raise UserError(f'"{reference}" is a {type(found).__name__}, not a function')
    _refuse_imported(reference, own.name, found)
    return found


def _refuse_imported(reference: str, own: str, found: object) -> None:
    defined = found if inspect.isroutine(found) or inspect.isclass(found) else type(found)
    home = str(getattr(defined, "__module__", None))
    if home.partition(".")[0] != own:
        raise UserError(
            f'"{reference}" is not defined in {own} but in {home}; name a function of {own} itself'
        )


@contextmanager
def importable(module: OwnModule) -> Iterator[None]:
    """Import a module from its source, not from compiled files beside it.

    The working directory is searched last, so it never replaces an installed module. It is searched
    only for the user's own modules; an installed one finds its imports where it is.
    """
    before, sys.pycache_prefix = sys.pycache_prefix, str(_record_file().with_name("compiled"))
    try:
        with contextlib.nullcontext() if module.installed else _working_directory():
            yield
    finally:
        sys.pycache_prefix = before


@contextmanager
def _working_directory() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.append(folder)
    try:
        yield
    finally:
        if folder in sys.path:  # The last one is ours, unless the user's code has rearranged it.
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]


def _located(reference: str) -> OwnModule:
    name = reference.partition(":")[0].partition(".")[0]
    if name in _NEVER:
        raise UserError(
            f'"{reference}" is part of {name} itself; name a function that returns the '
            "network, in a module of your own"
        )
    module = _found(name)
    if module is None:
        raise UserError(
            f'"{reference}": there is no module {name} with source files in the working '
            f"directory {Path.cwd()}, on PYTHONPATH or installed"
        )
    return module


def _found(name: str) -> OwnModule | None:
    """Find a top-level module without importing it."""
    spec: ModuleSpec | None
    with _working_directory():
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    if spec.origin is not None:
        stated = Path(spec.origin).parent if folders else Path(spec.origin)
    elif len(folders) == 1:  # without __init__.py
        stated = Path(folders[0])
    else:
        return None
    is_source = stated.is_dir() or (stated.is_file() and stated.suffix in _CODE)
    if not is_source:  # in a zip, or compiled: nobody could read it
        return None
    installed = {"site-packages", "dist-packages"} & {*stated.parts, *stated.resolve().parts}
    return OwnModule(name, stated.resolve(), bool(installed))


def _record_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or home_folder() / ".local" / "state"
    return Path(state) / "pcsearch" / "allowed-code.json"


def _calls(options: Mapping[str, object]) -> str:
    """A hash of the functions to be called and of their options."""
    calls = {name: given for name, given in options.items() if is_reference(name)}
    return hashlib.sha256(json.dumps(calls, sort_keys=True, default=str).encode()).hexdigest()


def _record() -> list[tuple[str, str, str, str]]:
    """Run, calls, consent and module file of each entry; empty if it cannot be read."""
    try:
        entries = json.loads(read_regular(_record_file(), _RECORD_BYTES))
        return [(str(run), str(calls), str(of), str(file)) for run, calls, of, file in entries]
    except (OSError, ValueError, TypeError):
        return []
