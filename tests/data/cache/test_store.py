from __future__ import annotations

import json
import os
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from pcsearch.data.cache import OnBadImage, ensure_store, fingerprints_of, open_store
from pcsearch.data.cache.files import StoreFiles
from pcsearch.data.duplicates import FINGERPRINT_BYTES
from pcsearch.data.sources import ArrayImages, FileImages
from pcsearch.errors import UserError
from tests.data.cache.processes import LOCK, said, start
from tests.data.image_files import CountedImages, leftovers, noise


def files_in(folder: Path, count: int = 5) -> FileImages:
    """JPEGs of various shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        noise(30 + 7 * index, 61 - 5 * index, index).save(folder / f"{index}.jpg")
    return FileImages.of(folder, [f"{index}.jpg" for index in range(count)])


@pytest.mark.parametrize("resize", [7, 32, 100])
def test_pixels_equal_torchvision_resize(tmp_path: Path, resize: int) -> None:
    images = files_in(tmp_path / "images")
    store = ensure_store(images, resize, folder=tmp_path / "cache")
    transform = Resize((resize, resize), InterpolationMode.BILINEAR, antialias=True)
    for index in range(len(images)):
        with Image.open(images.name(index)) as image:
            expected = np.asarray(transform(image.convert("RGB")))
        assert (store.images[index] == expected).all()
    assert store.kept.tolist() == [0, 1, 2, 3, 4]
    assert store.bad == ()


def test_store_is_a_read_only_map(tmp_path: Path) -> None:
    store = ensure_store(files_in(tmp_path / "images"), 16, folder=tmp_path / "cache")
    assert isinstance(store.images, np.memmap)
    assert store.images.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        store.images[0, 0, 0, 0] = 1


def test_second_call_decodes_nothing(tmp_path: Path) -> None:
    source = CountedImages(tmp_path / "log")
    first = ensure_store(source, 8, folder=tmp_path / "cache")
    second = ensure_store(source, 8, folder=tmp_path / "cache")
    assert first.path == second.path
    assert len((tmp_path / "log").read_text().split()) == 40
    assert ensure_store(source, 9, folder=tmp_path / "cache").path != first.path


def test_changed_file_gives_another_store(tmp_path: Path) -> None:
    first = ensure_store(files_in(tmp_path / "images"), 8, folder=tmp_path / "cache")
    noise(30, 30, 99).save(tmp_path / "images" / "2.jpg")
    images = FileImages.of(tmp_path / "images", [f"{index}.jpg" for index in range(5)])
    second = ensure_store(images, 8, folder=tmp_path / "cache")
    assert second.path != first.path
    assert (second.images[2] != first.images[2]).any()


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    pixels = np.zeros((50, 4, 4), dtype=np.uint8)
    calls: list[tuple[int, int]] = []
    ensure_store(
        ArrayImages(pixels, "square"), 4, folder=tmp_path, progress=lambda *c: calls.append(c)
    )
    assert [total for _, total in calls] == [50] * len(calls)
    assert calls[-1] == (50, 50)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_a_strip_is_a_bad_image_of_aspect_keep(tmp_path: Path) -> None:
    images = files_in(tmp_path / "images")
    noise(1, 2000, 0).save(images.name(3))
    folder = tmp_path / "cache"
    with pytest.raises(
        UserError, match=r"1 of 5 images .*\n.*3\.jpg \(2000 x 1 pixels are too long"
    ):
        ensure_store(images, 8, aspect="keep", folder=folder)
    built: list[int] = []
    for _ in range(2):  # that the file itself can be read is no reason to build the store again
        store = ensure_store(
            images,
            8,
            aspect="keep",
            folder=folder,
            on_bad_image="skip",
            progress=lambda done, _: built.append(done),
        )
        assert store.kept.tolist() == [0, 1, 2, 4]
    assert built.count(5) == 1
    assert ensure_store(images, 8, folder=folder).bad == ()


def test_waiting_for_another_process_is_told(tmp_path: Path) -> None:
    source, folder = ArrayImages(np.zeros((3, 4, 4), np.uint8), "square"), tmp_path / "cache"
    told: list[tuple[int, int]] = []
    waits = threading.Event()

    def waiting(done: int, total: int) -> None:
        told.append((done, total))
        waits.set()

    files = StoreFiles(folder, ensure_store(source, 4, folder=folder, waiting=waiting).path.stem)
    assert told == []
    files.meta.unlink()
    holder = start(LOCK, files.lock)
    assert said(holder) == "held"
    waiter = threading.Thread(
        target=lambda: ensure_store(source, 4, folder=folder, waiting=waiting), daemon=True
    )
    waiter.start()
    assert waits.wait(30)
    assert waiter.is_alive()
    assert told == [(0, 3)]
    holder.communicate("\n")
    waiter.join(30)
    assert told == [(0, 3), (3, 3)]
    assert files.meta.exists()


def spoil(images: FileImages) -> FileImages:
    whole = Path(images.name(1)).read_bytes()
    Path(images.name(1)).write_bytes(whole[: len(whole) // 2])
    Path(images.name(3)).write_text("no image")
    return FileImages.of(images.root, images.names)


def test_all_bad_images_are_named(tmp_path: Path) -> None:
    images = spoil(files_in(tmp_path / "images"))
    with pytest.raises(UserError) as caught:
        ensure_store(images, 8, folder=tmp_path / "cache")
    message = str(caught.value)
    assert "2 of 5 images cannot be read" in message
    assert "1.jpg (" in message
    assert "runcated" in message
    assert "3.jpg (not an image)" in message
    assert "data.on_bad_image=skip" in message
    assert leftovers(tmp_path / "cache") == []


def test_ten_bad_images_at_most_are_named(tmp_path: Path) -> None:
    for index in range(15):
        (tmp_path / f"{index:02}.jpg").write_bytes(b"")
    noise(9, 9, 0).save(tmp_path / "99.jpg")
    images = FileImages.of(tmp_path, [*(f"{i:02}.jpg" for i in range(15)), "99.jpg"])
    with pytest.raises(UserError, match="and 5 more") as caught:
        ensure_store(images, 8, folder=tmp_path / "cache")
    assert str(caught.value).count("the file is empty") == 10


def test_skipped_images_leave_no_gap(tmp_path: Path) -> None:
    images = spoil(files_in(tmp_path / "images"))
    store = ensure_store(images, 8, folder=tmp_path / "cache", on_bad_image="skip")
    assert store.kept.tolist() == [0, 2, 4]
    assert store.images.shape == (3, 8, 8, 3)
    for row, index in enumerate(store.kept):
        expected = images.image(int(index)).resize((8, 8), Image.Resampling.BILINEAR)
        assert (store.images[row] == np.asarray(expected)).all()
    assert len(store.bad) == 2
    again = ensure_store(images, 8, folder=tmp_path / "cache", on_bad_image="skip")
    assert again.bad == store.bad
    assert again.kept.tolist() == [0, 2, 4]
    with pytest.raises(UserError, match="2 of 5"):
        ensure_store(images, 8, folder=tmp_path / "cache", on_bad_image="fail")


@pytest.mark.parametrize("then", ["skip", "fail"])
def test_skipped_image_that_reads_now_comes_back(tmp_path: Path, then: OnBadImage) -> None:
    images = files_in(tmp_path / "images")
    file = Path(images.name(2))
    whole, times = file.read_bytes(), file.stat()
    file.write_bytes(b"x" * len(whole))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    first = ensure_store(images, 8, folder=tmp_path / "cache", on_bad_image="skip")
    assert first.kept.tolist() == [0, 1, 3, 4]
    file.write_bytes(whole)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    second = ensure_store(images, 8, folder=tmp_path / "cache", on_bad_image=then)
    assert second.path == first.path
    assert second.kept.tolist() == [0, 1, 2, 3, 4]
    assert second.bad == ()
    assert (first.images == second.images[first.kept]).all()  # what is mapped stays as it was


def test_nothing_readable_is_an_error_even_under_skip(tmp_path: Path) -> None:
    images = FileImages.of(tmp_path, ["a.jpg", "b.jpg"])
    with pytest.raises(UserError, match=r"(?s)2 of 2 .*no such file.*check the folder"):
        ensure_store(images, 8, folder=tmp_path / "cache", on_bad_image="skip")


@pytest.mark.parametrize("damage", ["short", "long", "meta", "no meta", "half meta", "header"])
def test_damaged_store_is_built_again(tmp_path: Path, damage: str) -> None:
    source = CountedImages(tmp_path / "log", size=6)
    store = ensure_store(source, 8, folder=tmp_path / "cache")
    expected, meta = store.images.copy(), store.path.with_suffix(".json")
    size = store.path.stat().st_size
    if damage == "short":
        os.truncate(store.path, size - 100)
    elif damage == "long":
        os.truncate(store.path, size + 1)
    elif damage == "meta":
        facts = json.loads(meta.read_text())
        meta.write_text(json.dumps(facts | {"bad_indices": [0]}))
    elif damage == "no meta":
        meta.unlink()
    elif damage == "half meta":
        meta.write_text(meta.read_text()[:30])
    else:
        with store.path.open("r+b") as file:
            file.write(b"broken")
    again = ensure_store(source, 8, folder=tmp_path / "cache")
    assert (again.images == expected).all()
    assert len((tmp_path / "log").read_text().split()) == 12
    suffixes = (".npy", ".prints.npy", ".twins.npy")
    assert leftovers(tmp_path / "cache") == sorted(
        [meta.name, *(store.path.with_suffix(suffix).name for suffix in suffixes)]
    )


def test_threads_of_one_process_build_once(tmp_path: Path) -> None:
    source = CountedImages(tmp_path / "log")
    threads = [
        threading.Thread(target=ensure_store, args=(source, 8), kwargs={"folder": tmp_path})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((tmp_path / "log").read_text().split()) == 40


def test_errors_of_the_source_itself_are_not_bad_images(tmp_path: Path) -> None:
    class Broken(CountedImages):
        def image(self, index: int) -> Image.Image:
            raise KeyError("a mistake in the reader")

    with pytest.raises(KeyError, match="a mistake in the reader"):
        ensure_store(Broken(tmp_path / "log"), 8, folder=tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images"):
        ensure_store(FileImages.of(tmp_path, []), 8, folder=tmp_path)


def test_near_duplicates_share_a_number(tmp_path: Path) -> None:
    images = files_in(tmp_path / "images")
    for name in ("1.jpg", "3.jpg"):
        (tmp_path / "images" / name).write_bytes((tmp_path / "images" / "0.jpg").read_bytes())
    (tmp_path / "images" / "2.jpg").write_bytes(b"")
    images = FileImages.of(images.root, images.names)
    store = ensure_store(images, 32, folder=tmp_path / "cache", on_bad_image="skip")
    assert store.twins.dtype == np.int64
    assert store.twins.tolist() == [0, 0, 0, 3]  # rows of the store, not of the source
    opened = open_store(store.path)
    assert opened is not None
    assert opened.twins.tolist() == [0, 0, 0, 3]


def test_opened_store_is_the_one_that_was_built(tmp_path: Path) -> None:
    images = spoil(files_in(tmp_path / "images"))
    built = ensure_store(images, 8, folder=tmp_path / "cache", on_bad_image="skip")
    opened = open_store(built.path)
    assert opened is not None
    assert isinstance(opened.images, np.memmap)
    assert (opened.images == built.images).all()
    assert opened.kept.tolist() == [0, 2, 4]
    assert opened.bad == built.bad
    assert open_store(tmp_path / "cache" / "other.npy") is None
    assert open_store(tmp_path / "none" / "other.npy") is None


def test_aspects_have_stores_of_their_own(tmp_path: Path) -> None:
    images = files_in(tmp_path / "images")
    warp, keep = (
        ensure_store(images, 16, aspect=aspect, folder=tmp_path / "cache")
        for aspect in ("warp", "keep")
    )
    transform = Compose([Resize(16), CenterCrop(16)])
    for index in range(len(images)):
        expected = np.asarray(transform(images.image(index)))
        assert (keep.images[index] == expected).all()
    assert warp.path != keep.path
    assert (warp.images != keep.images).any()


@pytest.mark.parametrize("position", [0.0, 0.3, 0.999])
def test_flipped_bit_is_found_and_built_again(tmp_path: Path, position: float) -> None:
    """As a failing disk does it: neither size nor time tell of it."""
    source = CountedImages(tmp_path / "log", size=6)
    store = ensure_store(source, 8, folder=tmp_path / "cache")
    expected, times = store.images.copy(), store.path.stat()
    del store
    [path] = (tmp_path / "cache").glob("*[0-9a-f].npy")
    content = bytearray(path.read_bytes())
    content[128 + int(position * 6 * 192)] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = ensure_store(source, 8, folder=tmp_path / "cache")
    assert (again.images == expected).all()
    assert len((tmp_path / "log").read_text().split()) == 12


def flip_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_flipped_bit_in_the_near_duplicates(tmp_path: Path) -> None:
    source = CountedImages(tmp_path / "log", size=6)
    store = ensure_store(source, 8, folder=tmp_path / "cache")
    flip_last_bit(store.path.with_suffix(".twins.npy"))
    assert open_store(store.path) is None
    assert ensure_store(source, 8, folder=tmp_path / "cache").twins.tolist() == store.twins.tolist()


def test_flipped_bit_in_the_fingerprints(tmp_path: Path) -> None:
    source = CountedImages(tmp_path / "log", size=6)
    store = ensure_store(source, 8, folder=tmp_path / "cache")
    expected = fingerprints_of(store)
    assert expected is not None
    assert expected.shape == (6, FINGERPRINT_BYTES)
    flip_last_bit(store.path.with_suffix(".prints.npy"))
    assert fingerprints_of(store) is None
    again = fingerprints_of(ensure_store(source, 8, folder=tmp_path / "cache"))
    assert again is not None
    assert (again == expected).all()


def test_touched_file_is_checked_in_full_and_kept(tmp_path: Path) -> None:
    source = CountedImages(tmp_path / "log", size=6)
    store = ensure_store(source, 8, folder=tmp_path / "cache")
    os.utime(store.path, (1, 1))
    assert open_store(store.path) is None  # it may not be the file that was checked
    ensure_store(source, 8, folder=tmp_path / "cache")
    assert len((tmp_path / "log").read_text().split()) == 6
    assert open_store(store.path) is not None


def test_symlinked_cache_and_read_only_images(tmp_path: Path) -> None:
    images = files_in(tmp_path / "images")
    for path in [*images.root.iterdir(), images.root]:
        path.chmod(path.stat().st_mode & 0o555)
    (tmp_path / "far").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "far")
    store = ensure_store(images, 8, folder=tmp_path / "cache" / "decoded")
    assert (tmp_path / "far" / "decoded" / store.path.name).exists()
    assert open_store(store.path) is not None
    images.root.chmod(0o755)


def test_bad_images_are_told_in_one_message(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = files_in(tmp_path / "images", 12)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)  # Pillow warns of some, refuses others
    (tmp_path / "images" / "3.jpg").unlink()
    (tmp_path / "images" / "3.jpg").mkdir()
    images = FileImages.of(images.root, images.names)
    store = ensure_store(images, 8, folder=tmp_path / "cache", on_bad_image="skip")
    reasons = [reason.rsplit("(")[-1] for reason in store.bad]
    too_big = "too big, over 1,800 pixels: make it smaller)"
    assert reasons == [too_big] * 3 + ["a folder, not a file)"] + [too_big] * 5
    assert not recwarn.list


def test_opening_copies_no_pixels(tmp_path: Path) -> None:
    pixels = np.zeros((600, 4, 4), dtype=np.uint8)
    path = ensure_store(ArrayImages(pixels, "square"), 200, folder=tmp_path).path  # 72 MB
    tracemalloc.start()
    store = open_store(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert store is not None
    assert peak_bytes < 10**6
