"""`pcsearch export`: a folder that works without the run, and without this program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import pcsearch
from pcsearch.errors import UserError
from tests.cli.conftest import Command
from tests.cli.kept_runs import CLASSES, HOW, answers, one_study, write_kept_run
from tests.e2e.pictures import save_classes

LARGER = {**HOW, "resize": 72, "crop": 64}
TORCHVISION = "shufflenet_v2_x0_5"
TIMM = "timm/test_resnet"


def run_of(folder: Path, backbone: str, **changes: Any) -> Path:
    how = HOW if backbone == "compact_cnn" else LARGER
    return write_kept_run(folder, one=one_study(f"images/{backbone}"), how=how, **changes)


def without_pcsearch(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python without PYTHONPATH, in which pcsearch cannot be imported."""
    code = (
        "import runpy, sys; sys.modules['pcsearch'] = None; "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-I", "-c", code, str(script), *arguments], capture_output=True, text=True
    )


@pytest.mark.parametrize(("backbone", "aspect"), [(TORCHVISION, "warp"), (TIMM, "keep")])
def test_its_script_says_what_pcsearch_says(
    command: Command, tmp_path: Path, backbone: str, aspect: str
) -> None:
    names = (*CLASSES, 'quo"ted, name', "slash/ed", r"m\udcf6we", "Häher")
    write_kept_run(
        tmp_path,
        one=one_study(f"images/{backbone}"),
        how={**LARGER, "aspect": aspect},
        classes=names,
    )
    files = [str(file) for file in sorted(save_classes(tmp_path / "new", images=3).rglob("*.*"))]
    code, out, err = command("export", "kept", "--to", "out")
    assert code == 0, err
    assert "out: written (README.md, class_names.json, config.json, model.safetensors" in out
    done = without_pcsearch(tmp_path / "out/predict.py", *files)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    for source in ("kept", "out"):
        _, out, _ = command("predict", source, *files, "--json")
        told = [
            (repr(one["file"]), f"{100 * top['probability']:.1f}", repr(top["class"]))
            for one in json.loads(out)["predictions"]
            for top in one["top"]
        ]
        assert [(file, name) for file, _, name in told] == [(line[0], line[2]) for line in lines]
        for (_, share, _), line in zip(told, lines, strict=True):
            assert float(share) == pytest.approx(float(line[1]), abs=0.15)


def test_a_network_of_ours_needs_pcsearch(command: Command, tmp_path: Path) -> None:
    run_of(tmp_path, "compact_cnn", options={"width": 8})
    assert command("export", "kept", "--to", "out", "--arm", "pc")[0] == 0
    network = pcsearch.load_network(tmp_path / "out/model.safetensors")
    assert network.module.head.in_features == 32  # type: ignore[union-attr]
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert (config["library"], config["arm"], config["num_classes"]) == ("pcsearch", "pc", 3)
    done = without_pcsearch(tmp_path / "out/predict.py")
    assert "pcsearch" in done.stderr.splitlines()[-1]


def test_timm_loads_the_folder(command: Command, tmp_path: Path) -> None:
    import timm

    run = run_of(tmp_path, TIMM)
    files = sorted(save_classes(tmp_path / "new", images=2).rglob("*.*"))
    assert command("export", "kept", "--to", "out", "--arm", "pc")[0] == 0
    network = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    settings = timm.data.resolve_model_data_config(network)
    prepare = timm.data.create_transform(**settings, is_training=False)
    from PIL import Image

    with torch.no_grad():
        found = torch.cat([network(prepare(Image.open(f))[None]).softmax(1) for f in files])
    (weights,) = run.glob("weights/*.pc.*")
    expected = answers(TIMM, weights, files, LARGER)
    assert torch.allclose(found.double(), expected, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [TORCHVISION, TIMM, "compact_cnn"])
def test_onnx_gives_the_same_answers(command: Command, tmp_path: Path, backbone: str) -> None:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason="needs the extra: pip install 'pcsearch[onnx]'")
    runtime = pytest.importorskip("onnxruntime")
    from PIL import Image
    from torchvision.transforms import functional as F

    run = run_of(tmp_path, backbone)
    how = HOW if backbone == "compact_cnn" else LARGER
    files = sorted(save_classes(tmp_path / "new", images=3).rglob("*.*"))
    code, out, err = command("export", "kept", "--to", "out", "--arm", "control", "--onnx")
    assert code == 0, err
    assert "ONNX Runtime gives the same answers as PyTorch to 16 random images." in out
    session = runtime.InferenceSession(str(tmp_path / "out/model.onnx"))
    side, crop = how["resize"], how["crop"]
    batch = torch.stack(
        [
            F.normalize(
                F.to_tensor(F.center_crop(F.resize(Image.open(f), [side, side]), crop)),
                how["mean"], how["std"],
            )
            for f in files
        ]
    )  # fmt: skip
    (logits,) = session.run(["logits"], {"images": batch.numpy()})
    (weights,) = run.glob("weights/*.control.*")
    expected = answers(backbone, weights, files, how)
    assert torch.tensor(logits).argmax(1).tolist() == expected.argmax(1).tolist()


def test_without_the_extra_onnx_the_message_names_it(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pcsearch.execution.onnx_export._NEEDED", ("onnx_is_not_here",))
    run_of(tmp_path, "compact_cnn")
    code, _, err = command("export", "kept", "--to", "out", "--onnx")
    assert code == 2
    assert "--onnx needs onnx_is_not_here: pip install 'pcsearch[onnx]'" in err
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


@pytest.fixture
def exported(command: Command, tmp_path: Path) -> Path:
    run_of(tmp_path, "compact_cnn")
    save_classes(tmp_path / "new", images=1)
    assert command("export", "kept", "--to", "out")[0] == 0
    return tmp_path / "out"


@pytest.mark.parametrize(
    "name", ["model.safetensors", "class_names.json", "config.json", "predict.py"]
)
def test_a_missing_or_changed_file_is_refused_by_name(
    command: Command, exported: Path, name: str
) -> None:
    content = (exported / name).read_bytes()
    for at in range(0, len(content), max(1, len(content) // 7)):
        changed = bytearray(content)
        changed[at] ^= 1
        (exported / name).write_bytes(changed)
        code, out, err = command("predict", "out", "new")
        assert (code, out) == (2, "")
        assert f"out/{name}" in err
        assert "export the network again" in err or "not one of pcsearch export" in err
    (exported / name).unlink()
    code, _, err = command("evaluate", "out", "new")
    assert code == 2
    assert f"out lacks {name}; export the network again" in err


def test_the_card_may_be_edited_and_the_folder_moved(command: Command, exported: Path) -> None:
    card = (exported / "README.md").read_text()
    for heading in ("Use", "Data", "Training", "Results", "Limits", "Licences"):
        assert f"\n## {heading}\n" in card
    assert "| **control** (this network) | 91.00 ± 1.00 | 3 |" in card
    assert "300 test images" in card
    assert str(exported.parent) not in card
    (exported / "README.md").write_text("mine")
    exported.rename(exported.parent / "moved")
    assert command("evaluate", "moved", "new")[0] == 0
    code, _, err = command("predict", "moved", "new", "--arm", "pc")
    assert code == 2
    assert "moved holds the network of the arm control alone, not pc" in err


def test_no_code_of_a_folder_is_run(command: Command, exported: Path) -> None:
    """Even a folder whose hashes were all made again names code that nobody allowed."""
    from pcsearch.execution.exported_folder import file_digest, sealed

    (exported / "predict.py").write_text("open('ran', 'w')")
    (exported.parent / "evil.py").write_text("open('ran', 'w')")
    config = json.loads((exported / "config.json").read_text())
    del config["sha256"]
    config["backbone"] = "evil:network"
    config["files"]["predict.py"] = file_digest(exported / "predict.py")
    (exported / "config.json").write_text(json.dumps(sealed(config)))
    code, _, err = command("predict", "out", "new")
    assert code == 2
    assert "--allow-code evil" in err
    assert not list(exported.parent.rglob("ran"))


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("new", "--to new is not empty; choose a new folder"),
        ("new/azure/000.png", "is a file or a link"),
        ("absent/out", "there is no folder"),
    ],
)
def test_nothing_is_overwritten(command: Command, tmp_path: Path, to: str, message: str) -> None:
    run_of(tmp_path, "compact_cnn")
    save_classes(tmp_path / "new", images=1)
    before = sorted(tmp_path.rglob("*"))
    code, _, err = command("export", "kept", "--to", to)
    assert code == 2
    assert message in err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_exported_folder_is_not_exported_again(exported: Path) -> None:
    with pytest.raises(UserError, match="is an exported network already"):
        pcsearch.export(exported, exported.parent / "again")


def test_all_epochs_as_a_table(command: Command, tmp_path: Path) -> None:
    run_of(tmp_path, "compact_cnn")
    code, out, err = command("export", "kept", "--table", "csv")
    assert code == 0, err
    lines = (tmp_path / "kept-epochs.csv").read_text().splitlines()
    assert f"kept-epochs.csv: written ({len(lines) - 1:,} rows of" in out
    code, out, _ = command("export", "kept", "--table", "csv", "--to", "-")
    assert out.splitlines() == lines
    assert command("export", "kept", "--table", "parquet", "--to", "e.parquet")[0] == 0
    assert (tmp_path / "e.parquet").read_bytes().startswith(b"PAR1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--to DIR is missing: name a new folder"),
        (("--table", "csv", "--arm", "pc"), "leave out --study, --arm and --onnx"),
        (("--table", "parquet", "--to", "-"), "--table parquet is no text"),
        (("--table", "csv", "--to", "absent/e.csv"), "there is no folder"),
        (("--table", "csv", "--to", "runs"), "runs exists; choose another file"),
        (("--table", "excel"), "'excel' is not one of 'parquet', 'csv'"),
    ],
)
def test_mistakes_are_one_message(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    run_of(tmp_path, "compact_cnn")
    code, _, err = command("export", "kept", *arguments)
    assert code == 2
    assert message in " ".join(err.split())
