import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from upconv.nn.files import write
from upconv.nn.images import InputError, png, read_image, read_mask

rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (5, 7)).astype(np.uint8)
COLOUR = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
ALPHA = rng.integers(0, 256, (5, 7, 4)).astype(np.uint8)


@pytest.mark.parametrize(
    ("array", "name", "expected"),
    [
        (GREY, "a.png", GREY[:, :, None]),
        (GREY.astype(np.uint16) * 257, "a.png", GREY[:, :, None].astype(np.uint16) * 257),
        (GREY > 99, "a.png", (GREY[:, :, None] > 99) * np.uint8(255)),
        (COLOUR, "a.png", COLOUR),
        (ALPHA, "a.png", ALPHA[:, :, :3]),
        (ALPHA[:, :, :2], "a.png", ALPHA[:, :, :1]),
        (GREY, "a.tif", GREY[:, :, None]),
        (COLOUR, "a.TIFF", COLOUR),
    ],
)
def test_read_image(tmp_path, array, name, expected):
    Image.fromarray(array).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.dtype == expected.dtype
    assert np.array_equal(image, expected)


@pytest.mark.parametrize(
    ("array", "options", "expected"),
    [
        (GREY.astype(np.uint16) * 200, {}, GREY[:, :, None].astype(np.uint16) * 200),
        (GREY.astype(">u2"), {"byteorder": ">"}, GREY[:, :, None].astype(np.uint16)),
        (GREY.astype(np.float32), {}, GREY[:, :, None].astype(np.float32)),
        (COLOUR, {"photometric": "rgb", "compression": "zlib"}, COLOUR),
        (ALPHA, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, ALPHA[:, :, :3]),
        (np.moveaxis(COLOUR, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}, COLOUR),
        (np.moveaxis(ALPHA, 2, 0), {"imagej": True, "metadata": {"axes": "CYX"}}, ALPHA),
    ],
)
def test_read_tiff(tmp_path, array, options, expected):
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == expected.dtype
    assert image.dtype.isnative
    assert np.array_equal(image, expected)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, GREY[:, :, None]),
        (GREY.astype(">u2") * 200, GREY[:, :, None].astype(np.uint16) * 200),
        (np.asfortranarray(COLOUR), COLOUR),
        (GREY / 255, GREY[:, :, None] / 255),
        (ALPHA, ALPHA),  # channels of any meaning
        (GREY > 99, (GREY[:, :, None] > 99).astype(np.uint8)),
    ],
)
def test_read_npy(tmp_path, array, expected):
    np.save(tmp_path / "a.npy", array)
    image = read_image(tmp_path / "a.npy")
    assert image.dtype == expected.dtype
    assert image.dtype.isnative
    assert np.array_equal(image, expected)


@pytest.mark.parametrize("array", [GREY, COLOUR])
def test_read_jpeg(tmp_path, array):
    smooth = np.zeros_like(array)
    smooth[...] = 20 * np.arange(7, dtype=np.uint8).reshape(7, *[1] * (array.ndim - 2))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=100)
    image = read_image(tmp_path / "a.jpg")
    assert (image.dtype, image.shape) == (np.uint8, (5, 7, 1 if array.ndim == 2 else 3))
    assert abs(image.astype(int) - smooth.reshape(image.shape)).max() <= 2  # lossy


def test_a_compression_that_only_pillow_knows(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert np.array_equal(read_image(tmp_path / "a.tif"), COLOUR)


def test_a_palette_is_colour_in_an_image_and_indices_in_a_mask(tmp_path):
    file = Image.fromarray(GREY % 3, "P")
    file.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    file.save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.eye(3, dtype=np.uint8)[GREY % 3] * 255)
    assert np.array_equal(read_mask(tmp_path / "a.png"), GREY % 3)


def test_read_mask(tmp_path):
    for name, array, expected in (
        ("grey.png", GREY, GREY),
        ("wide.png", GREY.astype(np.uint16) + 300, GREY.astype(np.uint16) + 300),
        ("bits.png", GREY > 99, GREY > 99),
        ("grey_as_colour.png", np.repeat(GREY[:, :, None], 3, 2), GREY),
        ("grey_with_alpha.png", np.dstack([GREY, GREY, GREY, GREY[::-1]]), GREY),
    ):
        Image.fromarray(array).save(tmp_path / name)
        mask = read_mask(tmp_path / name)
        assert mask.dtype.kind in "ui"
        assert np.array_equal(mask, expected)
    tifffile.imwrite(tmp_path / "signed.tif", GREY.astype(np.int32) - 9)
    assert read_mask(tmp_path / "signed.tif").min() == GREY.min() - 9.0
    for array in (GREY, GREY[:, :, None].astype(np.int64), GREY > 99):
        np.save(tmp_path / "mask.npy", array)
        assert np.array_equal(read_mask(tmp_path / "mask.npy"), array.reshape(GREY.shape))


def test_what_cannot_be_read_is_named(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "colour.png")
    (tmp_path / "cut.png").write_bytes(png(rng.integers(0, 256, (99, 99)).astype(np.uint8))[:2000])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "text.tif").write_text("no image")
    tifffile.imwrite(tmp_path / "whole.tif", GREY)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "whole.tif").read_bytes()[:100])
    tifffile.imwrite(tmp_path / "pages.tif", np.zeros((6, 5, 7), np.uint8), photometric="minisblack")
    tifffile.imwrite(tmp_path / "float.tif", GREY.astype(np.float32))
    tifffile.imwrite(tmp_path / "nan.tif", np.full((5, 7), np.nan))
    tifffile.imwrite(tmp_path / "complex.tif", np.full((5, 7), 1j))
    np.save(tmp_path / "whole.npy", GREY)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-1])
    np.savez(tmp_path / "archive", GREY)
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    np.save(tmp_path / "object.npy", np.array([[{}]]), allow_pickle=True)
    np.save(tmp_path / "stack.npy", np.zeros((2, 5, 7, 3)))
    np.save(tmp_path / "empty.npy", np.zeros((0, 7)))
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    np.save(tmp_path / "colour.npy", COLOUR)
    np.save(tmp_path / "float.npy", GREY / 255)
    for read, name, message in (
        (read_image, "cut.npy", "cannot be read as an image: "),
        (read_image, "archive.npy", "cannot be read as an image: "),
        (read_image, "object.npy", "cannot be read as an image: "),
        (read_image, "stack.npy", r"an array of shape \(2, 5, 7, 3\); H x W or H x W x C is needed"),
        (read_mask, "empty.npy", r"an array of shape \(0, 7\); H x W or H x W x C is needed"),
        (read_image, "text.npy", "has dtype <U1"),
        (read_mask, "colour.npy", "is a colour image"),
        (read_mask, "float.npy", "holds float64 numbers"),
        (read_image, "none.png", "there is no file"),
        (read_image, "", "there is no file"),
        (read_image, "cut.png", "cannot be read as an image: "),
        (read_image, "text.png", "cannot be read as an image: "),
        (read_image, "text.tif", "cannot be read as an image: "),
        (read_image, "cut.tif", "cannot be read as an image: "),
        (read_image, "pages.tif", r"shape \(6, 5, 7\) \(axes .YX\); one image is needed"),
        (read_image, "nan.tif", "holds NaN or infinite values"),
        (read_image, "complex.tif", "dtype complex128"),
        (read_mask, "colour.png", "is a colour image"),
        (read_mask, "float.tif", "holds float32 numbers"),
    ):
        with pytest.raises(InputError, match=message) as error:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)


def test_written_files_are_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write(path, png(GREY))
    assert np.array_equal(read_image(path)[:, :, 0], GREY)

    def refuse(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="no space left"):
            write(path, png(COLOUR))
    assert np.array_equal(read_image(path)[:, :, 0], GREY)
    assert os.listdir(tmp_path) == ["a.png"]
