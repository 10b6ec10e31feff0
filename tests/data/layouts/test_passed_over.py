from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from pcsearch.data.catalog import DataOptions, open_dataset
from pcsearch.data.decode import read_image
from pcsearch.data.layouts.passed_over import ending_of, is_system_folder
from pcsearch.data.verify import verify_dataset
from pcsearch.errors import UserError
from tests.data.image_files import noise, save_classes


def notes(folder: Path, half_unpacked: str = "refuse") -> tuple[str, ...]:
    options = DataOptions(images=folder, near_duplicates="ignore", half_unpacked=half_unpacked)
    return open_dataset("images", options).notes


@pytest.mark.parametrize(
    ("path", "ending"),
    [
        ("a/1.mpo", ".mpo"),
        ("a.b/1", ""),
        ("a/1.jpg?w=800", ".jpg?..."),
        ("a/1?format=jpg&name=a.b", "?..."),
        ("a/1.JPG_Large", ".jpg_large"),
        ("a/1.jpg~", ".jpg~"),
    ],
)
def test_endings_are_those_that_people_see(path: str, ending: str) -> None:
    assert ending_of(path) == ending


@pytest.mark.parametrize(
    "name",
    [
        *["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"],
        *["@Recycle", "#snapshot", "FOUND.000", "__MACOSX", ".Trash-1000", "RECYCLER"],
        *["Network Trash Folder", ".ipynb_checkpoints"],
    ],
)
def test_folders_of_the_system(name: str) -> None:
    assert is_system_folder(name)


@pytest.mark.parametrize(
    "name", ["recycler", "#1", "@home", "found", "$100", "lost", "class_MACOSX"]
)
def test_folders_of_the_user(name: str) -> None:
    assert not is_system_folder(name)


def test_images_of_other_endings_are_counted_by_ending(tmp_path: Path) -> None:
    save_classes(tmp_path, {"ant": 3, "bee": 3})
    for name in ("1.mpo", "2.mpo", "3.jpg?w=800", "plain", "4.jpg_large"):
        shutil.copy(tmp_path / "ant" / "00.jpg", tmp_path / "ant" / name)
    (tmp_path / "ant" / "notes.txt").write_text("GIF is not what this text is")
    (tmp_path / "bee" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    for half_unpacked in ("refuse", "list"):
        assert notes(tmp_path, half_unpacked) == (
            "5 images are passed over because of their names' endings: 2 .mpo, 1 without ending, "
            "1 .jpg?..., 1 .jpg_large. Rename them to end in .jpg or .png, whatever their content; "
            "or list them in a manifest, which takes any ending.",
        )
    report = verify_dataset("images", DataOptions(images=tmp_path), workers=2)
    assert any(warning.startswith("5 images are passed over") for warning in report.warnings)


def test_camera_raws_of_rare_endings_are_to_be_exported(tmp_path: Path) -> None:
    save_classes(tmp_path, {"ant": 3, "bee": 3})
    for name, start in (
        ("1.PEF", b"MM\0*"), ("2.pef", b"II*\0"), ("3.x3f", b"FOVb"),
        ("4.crw", b"II\x1a\0\0\0HEAPCCDR"), ("5.raw", b"no image"), ("6.mpo", b"\xff\xd8\xff\xe0"),
    ):  # fmt: skip
        (tmp_path / "ant" / name).write_bytes(start + b"\0" * 64)
    assert notes(tmp_path) == (
        "1 image is passed over because of their names' endings: 1 .mpo. Rename them to end in "
        ".jpg or .png, whatever their content; or list them in a manifest, which takes any ending.",
        "4 images are passed over because of their names' endings: 2 .pef, 1 .crw, 1 .x3f. They "
        "are camera raws, which are not decoded: export them as JPEG or PNG.",
    )


def test_a_camera_raw_that_a_manifest_names_is_not_read_as_its_thumbnail(tmp_path: Path) -> None:
    noise(9, 9, 1).save(tmp_path / "1.tif")
    (tmp_path / "1.tif").rename(tmp_path / "1.pef")
    with pytest.raises(OSError, match=r"\.pef files are not supported: convert it to JPEG or PNG"):
        read_image(tmp_path / "1.pef")


def test_verify_reads_all_of_them_and_a_campaign_some(tmp_path: Path) -> None:
    save_classes(tmp_path, {"ant": 3, "bee": 3})
    for index in range(20):
        content = b"\xff\xd8\xff\xe0" if index in (0, 1, 2, 3, 9) else b"text"
        (tmp_path / "ant" / f"{index:02}.part").write_bytes(content)
    assert notes(tmp_path, "list")[0].startswith("5 images are passed over")
    assert notes(tmp_path)[0].startswith("16 images are passed over")  # 4 of the first 5, of 20


@pytest.mark.parametrize(
    "form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"]
)
def test_images_are_known_by_their_first_bytes(tmp_path: Path, form: str) -> None:
    Image.init()
    if form not in Image.SAVE:
        pytest.skip("this build of Pillow cannot write it")
    save_classes(tmp_path, {"ant": 3, "bee": 3})
    noise(9, 9, 1).save(tmp_path / "ant" / "x", format=form)
    assert notes(tmp_path)[0].startswith("1 image is passed over")


def test_a_class_of_nothing_else_says_so(tmp_path: Path) -> None:
    save_classes(tmp_path, {"ant": 3, "bee": 3, "cat": 3})
    for path in (tmp_path / "ant").iterdir():
        path.rename(path.with_suffix(""))
    with pytest.raises(UserError, match=r"ant holds no images: .* 3 images are .*3 without ending"):
        notes(tmp_path)
    for path in (tmp_path / "ant").iterdir():
        path.write_bytes(b"x" * 128 + b"DICM")
        path.rename(path.with_suffix(".dcm"))
    with pytest.raises(UserError, match=r"ant holds no images: .* Other files: 3 \.dcm\."):
        notes(tmp_path)


def test_folders_of_the_system_are_no_classes_and_hold_no_images(tmp_path: Path) -> None:
    save_classes(tmp_path, {"ant": 4, "bee": 4})
    for place in ("ant/@eaDir/00.jpg", "bee/@eaDir/00.jpg", "$RECYCLE.BIN/S-1-5", "lost+found"):
        (tmp_path / place).mkdir(parents=True)
        noise(9, 9, 2).save(tmp_path / place / "thumb.jpg")
    dataset = open_dataset("images", DataOptions(images=tmp_path, near_duplicates="ignore"))
    assert dataset.class_names == ("ant", "bee")
    assert dataset.test is not None
    assert len(dataset.train.labels) + len(dataset.test.labels) == 8
    assert dataset.notes == (
        "folders of the system are passed over: 1 $RECYCLE.BIN, 2 @eaDir, 1 lost+found.",
    )


def test_images_beside_the_class_folders_are_told(tmp_path: Path) -> None:
    save_classes(tmp_path, {"ant": 3, "bee": 3})
    assert notes(tmp_path) == ()
    noise(9, 9, 3).save(tmp_path / "loose.jpg")
    assert notes(tmp_path)[0].startswith("1 image lies beside the class folders (")
