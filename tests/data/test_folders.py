from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from genas.data import folders, load_data, resizing


def picture(size: tuple[int, int] = (6, 6), mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A random image of ``(width, height)`` pixels."""
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8))


def fill(root: Path, classes: dict[str, int], mode: str = "RGB") -> Path:
    """One sub-folder per class with so many PNG files."""
    for number, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for index in range(count):
            picture(mode=mode, seed=100 * number + index).save(root / name / f"{index:02}.png")
    return root


def test_flat_layout(tmp_path: Path) -> None:
    fill(tmp_path, {"dog": 6, "cat": 8})
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / "._00.png").write_text("what macOS leaves beside an image")
    (tmp_path / ".cache").mkdir()
    data = load_data(f"folder:{tmp_path}")
    assert data.class_names == ("cat", "dog")
    assert (len(data.train), len(data.valid), data.test) == (7, 7, None)
    assert (data.image_size, data.image_channels, data.flip) == (6, 3, True)
    assert data.train.labels.bincount().tolist() == [4, 3]
    found = {
        image.permute(1, 2, 0).numpy().tobytes(): int(label)
        for split in data.splits.values()
        for image, label in zip(split.images, split.labels, strict=True)
    }
    for label, name in enumerate(data.class_names):
        for file in (tmp_path / name).glob("[0-9]*.png"):
            assert found[np.asarray(Image.open(file)).tobytes()] == label


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_layout_with_roles(tmp_path: Path, valid: str) -> None:
    for role, count in {"train": 5, valid: 3, "test": 2}.items():
        fill(tmp_path / role, {"a": count, "b": count})
    data = load_data("folder:.", data_root=tmp_path)
    assert {role: len(split) for role, split in data.splits.items()} == {"train": 10, "valid": 6, "test": 4}
    assert data.split_source == "official validation images"


def test_training_folder_without_validation_is_split(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 4, "b": 4})
    fill(tmp_path / "test", {"a": 1, "b": 1})
    data = load_data(f"folder:{tmp_path}", valid_fraction=0.25)
    assert {role: len(split) for role, split in data.splits.items()} == {"train": 6, "valid": 2, "test": 2}


def test_grey_stays_grey_unless_one_image_has_colour(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 3}, mode="L")
    data = load_data(f"folder:{tmp_path}")
    assert data.image_channels == 1
    picture(seed=9).save(tmp_path / "b" / "99.png")
    assert load_data(f"folder:{tmp_path}").image_channels == 3


def test_differing_sizes_name_two_files_and_the_option(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 3})
    picture((9, 7)).save(tmp_path / "b" / "odd.jpg")
    with pytest.raises(ValueError, match=r"00.png has 6x6 pixels and .*odd.jpg has 9x7; give image_size"):
        load_data(f"folder:{tmp_path}")
    assert load_data(f"folder:{tmp_path}", image_size=5).image_size == 5


def test_rectangles_need_an_image_size(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(2):
            picture((8, 4), seed=index).save(tmp_path / name / f"{index}.png")
    with pytest.raises(ValueError, match=r"0.png: images must be square, but are 8x4 pixels; give image_size"):
        load_data(f"folder:{tmp_path}")


def test_turned_photographs_stand_upright(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    for file in tmp_path.glob("*/*.png"):
        upright = Image.open(file)
        upright.load()
        upright.transpose(Image.Transpose.ROTATE_180).save(file, exif=exif)
    turned = load_data(f"folder:{tmp_path}")
    for file in tmp_path.glob("*/*.png"):
        with Image.open(file) as image:
            expected = np.asarray(image.transpose(Image.Transpose.ROTATE_180))
        assert any(
            np.array_equal(image.permute(1, 2, 0).numpy(), expected)
            for split in turned.splits.values()
            for image in split.images
        )


def test_transparent_is_white(tmp_path: Path) -> None:
    """Drawings in black on nothing are not black all over."""
    fill(tmp_path, {"a": 2, "b": 2})
    drawing = np.zeros((6, 6, 4), dtype=np.uint8)
    drawing[2:4, 1:5, 3] = 255
    drawing[0, 0] = (200, 100, 0, 51)
    palette = Image.fromarray(drawing).convert("P")
    palette.info["transparency"] = palette.getpixel((1, 1))
    for mode, image in {"RGBA": Image.fromarray(drawing), "LA": Image.fromarray(drawing).convert("LA")}.items():
        image.save(tmp_path / "a" / "00.png")
        data = load_data(f"folder:{tmp_path}")
        pixels = np.concatenate([split.images.numpy() for split in data.splits.values()])
        (found,) = [each for each in pixels if (each[:, 2, 1:5] == 0).all()]
        assert (found[:, 1] == 255).all()
        assert (found[:, 0, 0] == 255 - np.rint((255 - np.array([200, 100, 0])) / 5)).all() or mode == "LA"


def test_a_turned_photograph_with_an_odd_tag_is_read(tmp_path: Path) -> None:
    """To write all tags again, as Pillow's own turning does, would fail."""
    fill(tmp_path, {"a": 2, "b": 2})
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    tags[ExifTags.Base.ExposureTime] = "a text where a ratio belongs"
    picture().save(tmp_path / "a" / "00.jpg", exif=tags)
    assert len(load_data(f"folder:{tmp_path}").train) + len(load_data(f"folder:{tmp_path}").valid) == 5


def test_large_photographs_are_decoded_at_a_fraction_of_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smooth = picture((8, 6)).resize((800, 600), Image.Resampling.BICUBIC)
    for name in ("a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        smooth.save(tmp_path / name, quality=95)
    sizes: list[tuple[int, int]] = []
    monkeypatch.setattr(
        folders, "resized", lambda image, size: sizes.append(image.size) or resizing.resized(image, size)
    )
    found = load_data(f"folder:{tmp_path}", image_size=50)
    assert sizes == [(200, 150)] * 4
    with Image.open(tmp_path / "a" / "0.jpg") as image:
        whole = np.asarray(resizing.resized(image, 50)).astype(int)
    assert np.abs(found.train.images[0].permute(1, 2, 0).numpy() - whole).max() <= 3


def test_too_many_pixels_are_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 17)
    with pytest.raises(ValueError, match=r"a/00.png cannot be decoded \(Image size \(36 pixels\) exceeds limit"):
        load_data(f"folder:{tmp_path}")


@pytest.mark.parametrize(("name", "options"), [("x.gif", {}), ("x.tif", {})])
def test_further_pages_are_not_passed_over(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    picture().save(tmp_path / "b" / name, save_all=True, append_images=[picture(seed=1), picture(seed=2)], **options)
    with pytest.raises(ValueError, match=rf"b/{name} has 3 pages, of which only one would be read"):
        load_data(f"folder:{tmp_path}")


def test_damaged_image(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    file = tmp_path / "b" / "01.png"
    content = file.read_bytes()
    for damage in (content[:60], b"", b"GIF89a no image", content[:45] + b"\0\0\0" + content[48:]):
        file.write_bytes(damage)
        with pytest.raises(ValueError, match=r"b/01.png cannot be decoded .*; replace or remove it"):
            load_data(f"folder:{tmp_path}")


def test_more_than_eight_bits(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    Image.fromarray(np.full((6, 6), 40_000, dtype=np.uint16)).save(tmp_path / "a" / "00.png")
    with pytest.raises(ValueError, match=r"a/00.png: images must have 8 bits per channel.*'I;16'; save it as 8-bit"):
        load_data(f"folder:{tmp_path}")


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*pets; folder:PATH needs one sub-folder"):
        load_data(f"folder:{tmp_path / 'pets'}")
    with pytest.raises(ValueError, match="must hold one sub-folder of images per class, but holds no folder"):
        load_data(f"folder:{tmp_path}")
    fill(tmp_path / "test", {"a": 1, "b": 1})
    with pytest.raises(ValueError, match=r"test but no training images; put them into .*train"):
        load_data(f"folder:{tmp_path}")
    fill(tmp_path / "train", {"a": 1, "c": 1})
    with pytest.raises(ValueError, match=r"test and .*train must hold the same classes, but 'b' is in one of them"):
        load_data(f"folder:{tmp_path}")
    (tmp_path / "train" / "b").mkdir()
    with pytest.raises(ValueError, match=r"train/b holds no images .*\.png.*add some or remove the folder"):
        load_data(f"folder:{tmp_path}")


def test_images_deeper_than_their_class_are_not_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    fill(tmp_path / "b", {"more": 1})
    with pytest.raises(ValueError, match="b must hold the images of a class, but holds the folder more; move it"):
        load_data(f"folder:{tmp_path}")


def test_images_that_would_not_be_read_are_not_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, {"train/a": 2, "train/b": 2})
    (tmp_path / "train" / "a" / "00.HEIC").write_bytes(b"")
    with pytest.raises(ValueError, match=r"00\.HEIC is of no kind that is read \(\.bmp, .*\); convert it, or move it"):
        load_data(f"folder:{tmp_path}")
    (tmp_path / "train" / "a" / "00.HEIC").unlink()
    (tmp_path / "Test").mkdir()
    with pytest.raises(
        ValueError, match=r"no folders but train, valid, val, validation, test .* but holds Test; rename"
    ):
        load_data(f"folder:{tmp_path}")
    (tmp_path / "Test").rmdir()
    picture().save(tmp_path / "beside.png")
    with pytest.raises(ValueError, match=r"beside\.png lies in no class; move it into one of the sub-folders"):
        load_data(f"folder:{tmp_path}")
    (tmp_path / "beside.png").unlink()
    picture().save(tmp_path / "train" / "loose.png")
    with pytest.raises(ValueError, match=r"loose\.png lies in no class; move it into one of the sub-folders"):
        load_data(f"folder:{tmp_path}")


def test_two_validation_folders(tmp_path: Path) -> None:
    for role in ("train", "val", "valid"):
        fill(tmp_path / role, {"a": 1, "b": 1})
    with pytest.raises(ValueError, match=r"valid and .*val mean the same; merge them"):
        load_data(f"folder:{tmp_path}")


def test_single_class(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 4})
    with pytest.raises(ValueError, match="at least two classes are needed, but there is only 'a'"):
        load_data(f"folder:{tmp_path}")


def test_too_big_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"a": 10, "b": 10})
    monkeypatch.setattr(resizing, "MEMORY_LIMIT", 500)  # four images of 6x6x3
    with pytest.raises(
        ValueError, match=r"10 images of 6x6 pixels need .* GiB of memory, more than .*; give a smaller"
    ):
        load_data(f"folder:{tmp_path}")
    assert len(load_data(f"folder:{tmp_path}", max_train=4, max_valid=4).train) == 4
    assert load_data(f"folder:{tmp_path}", image_size=3).image_size == 3


def test_only_wanted_images_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"a": 10, "b": 10})
    decoded: list[object] = []
    original = folders._decoded

    def counted(image: Image.Image, size: int, grey: bool) -> np.ndarray:
        decoded.append(image)
        return original(image, size, grey)

    monkeypatch.setattr(folders, "_decoded", counted)
    load_data(f"folder:{tmp_path}", max_train=4, max_valid=2)
    assert len(decoded) == 6


def test_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    for file in list(fill(tmp_path, {"cat": 4, "dog": 4}).rglob("*.png")):
        file.rename(file.with_suffix(".PNG"))
    data = load_data(f"folder:{tmp_path}")
    assert len(data.train) + len(data.valid) == 8
