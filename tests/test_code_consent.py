"""A stranger's recipe runs nothing: what is imported was allowed, outside the recipe."""

from __future__ import annotations

import os
import py_compile
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcsearch.code_consent import (
    REFERENCE,
    VARIABLE,
    allow,
    allowed,
    check_allowed,
    check_outside,
    check_unchanged,
    code_hash,
    code_of,
    find_function,
    recall,
    remember,
)
from pcsearch.errors import UserError

MARKED = "from pathlib import Path\nPath(__file__).with_name('was_run').touch()\n"
"""A module that shows that it was imported."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module and a package that would show their import."""
    work = tmp_path / "work"
    (work / "own_package").mkdir(parents=True)
    (work / "own_module.py").write_text(MARKED)
    (work / "own_package" / "__init__.py").write_text(MARKED)
    (work / "own_package" / "nets.py").write_text("")
    monkeypatch.chdir(work)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in [name for name in sys.modules if name.startswith("own_")]:
        monkeypatch.delitem(sys.modules, name)  # of another test in this process
    return work


def test_a_run_goes_on_with_the_code_it_began_with(place: Path) -> None:
    allow(["own_module"])
    began = code_of(["own_module:net", "compact_cnn"])
    check_unchanged(["own_module:net"], began)
    check_unchanged(["own_module:net"], {})  # a run that did not note it
    (place / "own_module.py").write_text("# another one\n")
    with pytest.raises(UserError, match=r"own_module \(.*\) has changed since the run began"):
        check_unchanged(["own_module:net"], began)


def was_run(place: Path) -> bool:
    return any(place.rglob("was_run"))


@pytest.mark.parametrize(
    "reference",
    [
        "own_module:net",
        "own_package.nets:net",
        "sympy:simplify",
        "numpy:load",
        "PIL.Image:open",
        "scipy.io:loadmat",
        "optuna:load_study",
        "pytest:main",
        "jinja2:Template",
    ],
)
def test_nothing_is_imported_without_consent(place: Path, reference: str) -> None:
    with pytest.raises(UserError, match=r"is not allowed here|there is no module"):
        check_allowed(reference)
    assert not was_run(place)


def test_a_name_alone_never_allows_an_installed_package(place: Path) -> None:
    allow(["optuna"])
    with pytest.raises(UserError, match="add --allow-code installed:optuna"):
        check_allowed("optuna:load_study")
    allow(["installed:optuna"])
    assert check_allowed("optuna:load_study").installed


def test_nor_does_installed_allow_a_file_of_that_name(place: Path) -> None:
    allow(["installed:own_module"])
    with pytest.raises(UserError, match="add --allow-code own_module"):
        check_allowed("own_module:net")


@pytest.mark.parametrize(
    "name", sorted({"torch", "torchgen", "pcsearch", "os", "test", "runpy", "ctypes"})
)
def test_python_pytorch_and_pcsearch_are_never_a_users_own(place: Path, name: str) -> None:
    allow([name, f"installed:{name}"])
    with pytest.raises(UserError, match=f"is part of {name} itself"):
        check_allowed(f"{name}.anything:function")


@given(st.text(max_size=30).filter(lambda text: not REFERENCE.fullmatch(text)))
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not of the form module:function"):
        check_allowed(text)


@pytest.mark.parametrize("name", ["", "a.b", "a:b", "../a", "a,b", "installed:", "installed:a.b"])
def test_consent_names_one_top_level_module(place: Path, name: str) -> None:
    with pytest.raises(UserError, match="must be the name of a module"):
        allow([name])
    assert allowed() == ()


def test_consents_add_up_and_go_on_to_children(place: Path) -> None:
    allow(["own_module"])
    allow(["own_package", "own_module"])
    assert os.environ[VARIABLE] == "own_module,own_package"
    assert check_allowed("own_package.nets:net").file == place / "own_package"
    assert not was_run(place)


@pytest.mark.parametrize("sign", ["journal.jsonl", "environment.json"])
@pytest.mark.parametrize("inside", ["", "weights", "data/deeper"])
def test_nothing_in_a_run_is_run_whatever_is_allowed(
    place: Path, monkeypatch: pytest.MonkeyPatch, sign: str, inside: str
) -> None:
    """From wherever the command starts, and whatever leads there."""
    run = place / "runs" / "theirs"
    (run / inside).mkdir(parents=True, exist_ok=True)
    (run / sign).touch()
    (run / inside / "evil_module.py").write_text(MARKED)
    allow(["evil_module", "linked_module", "runs"])
    (place / "runs" / "__init__.py").touch()
    monkeypatch.chdir(run / inside)
    with pytest.raises(UserError, match="whose files are never executed"):
        check_allowed("evil_module:net")
    monkeypatch.chdir(place)
    (place / "linked_module.py").symlink_to(run / inside / "evil_module.py")
    with pytest.raises(UserError, match="whose files are never executed"):
        check_allowed("linked_module:net")
    monkeypatch.syspath_prepend(str(run / inside))
    with pytest.raises(UserError, match="whose files are never executed"):
        check_allowed("evil_module:net")
    assert not was_run(place)


def test_a_run_without_its_signs_names_nothing_inside_itself(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = place / "theirs"
    run.mkdir()
    (run / "recipe.yaml").touch()
    (run / "evil_module.py").write_text(MARKED)
    monkeypatch.chdir(run)
    with pytest.raises(UserError, match="is inside the run itself"):
        check_outside(run, ["resnet50", "evil_module:net"])
    check_outside(place / "other", ["resnet50", "evil_module:net", "no_such_module:net"])


def test_a_run_that_began_here_keeps_its_consent_and_a_strangers_has_none(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"own_module:net": {"width": 4}, "resnet50": {}}
    run = place / "runs" / "mine"
    allow(["own_module"])
    remember(run, options)
    record = place.parent / "state" / "pcsearch" / "allowed-code.json"
    assert record.stat().st_mode & 0o777 == 0o600

    def after(run: Path, options: dict[str, object]) -> tuple[str, ...]:
        monkeypatch.setenv(VARIABLE, "")
        recall(run, options)
        return allowed()

    assert after(run, options) == ("own_module",)
    assert after(place / "runs" / "theirs", options) == ()
    assert after(run, {"own_module:net": {"width": 5}}) == (), "another run took its place"
    assert after(run, {"own_module:other": {"width": 4}, "resnet50": {}}) == ()
    (place / "own_module.py").rename(place / "elsewhere.py")
    (place / "own_module").mkdir()
    (place / "own_module" / "__init__.py").touch()
    assert after(run, options) == (), "another file has the name"


def test_without_a_place_for_the_record_a_run_starts_all_the_same(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    allow(["own_module"])
    remember(place / "run", {"own_module:net": {}})
    monkeypatch.setenv(VARIABLE, "")
    recall(place / "run", {"own_module:net": {}})
    assert allowed() == ()


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\xff", b'[["a"]]', b"[[1, 2, 3, 4]]"])
def test_a_broken_record_holds_no_consent(place: Path, content: bytes) -> None:
    record = place.parent / "state" / "pcsearch" / "allowed-code.json"
    record.parent.mkdir(parents=True)
    record.write_bytes(content)
    recall(place / "run", {"own_module:net": {}})
    assert allowed() == ()


def test_the_hash_follows_the_code_and_nothing_else(place: Path) -> None:
    before = code_hash("own_package")
    (place / "own_package" / "notes.txt").write_text("not code")
    assert code_hash("own_package") == before
    (place / "own_package" / "nets.py").write_text("changed = 1")
    changed = code_hash("own_package")
    assert changed != before
    (place / "own_package" / "nets.py").rename(place / "own_package" / "layers.py")
    assert len({before, changed, code_hash("own_package"), code_hash("own_module")}) == 4
    assert code_hash("no_such_module") == ""
    allow(["own_package"])
    assert code_of(["own_package:net", "vgg16"]).keys() == {"pcsearch", "own_package"}
    assert not was_run(place)
    assert not any(name.startswith("own_") for name in sys.modules)


def test_what_lies_compiled_beside_a_module_is_not_run(place: Path) -> None:
    """Python takes an unchecked-hash .pyc for the source, whatever that says."""
    evil = place / "evil.py"
    evil.write_text(MARKED + "def net(num_classes): ...")
    compiled = place / "__pycache__" / f"own_module.{sys.implementation.cache_tag}.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(evil), str(compiled), invalidation_mode=mode)
    (place / "own_module.py").write_text("def net(num_classes): ...")
    allow(["own_module"])
    find_function("own_module:net")
    del sys.modules["own_module"]
    assert not was_run(place)


def test_a_module_that_nobody_can_read_is_none(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(place / "own.zip", "w") as archive:
        archive.writestr("zipped_module.py", MARKED)
    monkeypatch.syspath_prepend(str(place / "own.zip"))
    py_compile.compile(str(place / "own_module.py"), str(place / "bare_module.pyc"))
    allow(["zipped_module", "bare_module"])
    for name in ("zipped_module", "bare_module"):
        with pytest.raises(UserError, match=f"there is no module {name}"):
            check_allowed(f"{name}:net")
    assert not was_run(place)


def test_an_installed_module_does_not_find_what_lies_beside_the_command(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "installed_module.py").write_text("import own_module\ndef net(num_classes): ...")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(sys, "path", [p for p in sys.path if Path(p).resolve() != place])
    allow(["installed:installed_module"])
    with pytest.raises(UserError, match="No module named 'own_module'"):
        find_function("installed_module:net")
    assert not was_run(place)
