import os

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from upconv import nn
from upconv.nn import inference
from upconv.nn.data import normalise
from upconv.nn.images import InputError, png, read_image

rng = np.random.default_rng(0)


def direct(model, x):
    with nn.no_grad():
        return nn.softmax(model(x[None])).data[0]


def image(height, width, channels=1):
    return rng.integers(0, 256, (height, width, channels)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_size_that_fits_is_the_plain_forward_pass(channels):
    model = nn.UNet(channels, 3, 2, 2, rng=0)
    picture = image(24, 36, channels)
    probability = inference.probabilities(model, picture)
    assert probability.dtype == np.float32
    assert np.array_equal(probability, direct(model, normalise(picture)))
    assert np.array_equal(inference.predict(model, picture), probability.argmax(0))
    assert inference.predict(model, picture).dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (23, 36), (17, 5)])
def test_any_other_size_is_reflected_and_cropped_back(size):
    model, picture = nn.UNet(1, 2, 2, 2, rng=0), image(*size)
    padding = [(0, -side % 4) for side in size]
    expected = direct(model, np.pad(normalise(picture), [(0, 0), *padding], mode="reflect"))
    assert np.array_equal(inference.probabilities(model, picture), expected[:, : size[0], : size[1]])


@pytest.mark.parametrize("size", [(1, 1), (21, 34)])
def test_an_unpadded_model_sees_the_image_reflected_on_every_side(size):
    model, picture = nn.UNet(1, 2, 2, 2, padded=False, rng=0), image(*size)
    fitted = model.valid_input_size(*size)
    before = (fitted[0] - model.output_size(*fitted)[0]) // 2
    padding = [(before, fit - before - side) for fit, side in zip(fitted, size, strict=True)]
    expected = direct(model, np.pad(normalise(picture), [(0, 0), *padding], mode="reflect"))
    assert np.array_equal(inference.probabilities(model, picture), expected[:, : size[0], : size[1]])


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("tile", [16, 33])
def test_tiles_give_what_the_whole_image_gives(padded, depth, tile):
    model, picture = nn.UNet(1, 2, 2, depth, padded=padded, rng=0), image(90, 141)
    whole = inference.probabilities(model, picture)
    tiled = inference.probabilities(model, picture, tile=tile)
    assert tiled == pytest.approx(whole, abs=1e-6)


def test_tiles_reach_as_far_as_a_pixel_sees():
    """One pixel of the input changes nothing further off than the overlap of the tiles."""
    for depth in (1, 2, 3):
        model, x = nn.UNet(1, 2, 2, depth, rng=1), rng.standard_normal((1, 192, 192)).astype(np.float32)
        other = x.copy()
        other[0, 96 - 1, 96] += 100
        changed = np.argwhere((direct(model, x) != direct(model, other)).any(0))
        assert abs(changed - 96).max() <= 8 * model.multiple


def test_wider_types_and_double_precision():
    model, picture = nn.UNet(1, 2, 2, 1, rng=0).to("float64"), image(8, 8)
    expected = inference.probabilities(model, picture)
    assert expected.dtype == np.float32
    assert inference.probabilities(model, picture.astype(np.uint16) * 257) == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(inference.probabilities(model, picture[:, :, 0]), expected)


def test_what_predict_cannot_use():
    model = nn.UNet(1, 2, 2, 1, rng=0)
    for picture, message in (
        (image(8, 8, 3), "the image has 3 channels; the model was built for 1 channel"),
        (np.zeros((2, 3, 4, 5)), r"image has shape \(2, 3, 4, 5\)"),
        (np.zeros((0, 5)), r"image has shape \(0, 5, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            inference.predict(model, picture)
    with pytest.raises(ValueError, match="tile is 0"):
        inference.probabilities(model, image(8, 8), tile=0)


@pytest.fixture
def folder(tmp_path):
    nn.save(nn.UNet(1, 2, 2, 2, rng=0), tmp_path / "two.safetensors")
    nn.save(nn.UNet(3, 4, 2, 2, rng=0), tmp_path / "four.safetensors")
    Image.fromarray(image(21, 34)[:, :, 0]).save(tmp_path / "grey.png")
    Image.fromarray(image(21, 34, 3)).save(tmp_path / "colour.tif")
    return tmp_path


def test_files_of_two_classes_hold_0_and_255(folder):
    mask, probability = folder / "mask.png", folder / "probability.png"
    labels = inference.predict_file(folder / "two.safetensors", folder / "grey.png", mask, probability)
    scores = inference.probabilities(nn.load(folder / "two.safetensors"), read_image(folder / "grey.png"))
    assert set(np.unique(labels)) == {0, 1}
    assert np.array_equal(labels, scores.argmax(0))
    assert np.array_equal(read_image(mask)[:, :, 0], labels * 255)
    assert np.array_equal(read_image(probability)[:, :, 0], np.rint(scores[1] * 255))


def test_files_of_more_classes_hold_their_indices(folder):
    mask, probability = folder / "mask.png", folder / "probability.png"
    labels = inference.predict_file(folder / "four.safetensors", folder / "colour.tif", mask, probability)
    assert np.array_equal(read_image(mask)[:, :, 0], labels)
    assert labels.max() > 1
    assert read_image(probability).min() >= 255 // 4


def test_files_that_cannot_be_used(folder):
    (folder / "text.safetensors").write_text("no model")
    safetensors.numpy.save_file({"w": np.zeros(3)}, folder / "foreign.safetensors")
    whole = (folder / "two.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-100])
    (folder / "text.png").write_text("no image")
    later = {"upconv.format": "1", "upconv.model": "Transformer", "upconv.config": "{}"}
    safetensors.numpy.save_file({"w": np.zeros(3)}, folder / "later.safetensors", later)
    for model, picture, output, message in (
        ("none.safetensors", "grey.png", "mask.png", "none.safetensors cannot be used as a model: there is no file"),
        ("text.safetensors", "grey.png", "mask.png", "text.safetensors cannot be used as a model: "),
        ("cut.safetensors", "grey.png", "mask.png", "cut.safetensors cannot be used as a model: "),
        ("later.safetensors", "grey.png", "mask.png", "Transformer"),
        ("foreign.safetensors", "grey.png", "mask.png", "was not written by upconv"),
        ("two.safetensors", "none.png", "mask.png", "there is no file .*none.png"),
        ("two.safetensors", "text.png", "mask.png", "text.png cannot be read as an image"),
        ("two.safetensors", "colour.tif", "mask.png", "colour.tif has 3 channels; .*two.safetensors was trained on 1"),
        ("two.safetensors", "grey.png", "mask.jpg", "mask.jpg must be named .png"),
        ("two.safetensors", "grey.png", "grey.png", "grey.png would overwrite what is read"),
        ("two.safetensors", "grey.png", "none/mask.png", "there is no folder .*none to write mask.png to"),
    ):
        with pytest.raises(InputError, match=message) as error:
            inference.predict_file(folder / model, folder / picture, folder / output)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="mask and probability at once"):
        inference.predict_file(folder / "two.safetensors", folder / "grey.png", folder / "a.png", folder / "a.png")
    assert not [name for name in os.listdir(folder) if "mask" in name or name.startswith(".")]


def test_an_old_mask_stays_whole_until_the_new_one_is(folder, monkeypatch):
    (folder / "mask.png").write_bytes(png(np.zeros((2, 2), np.uint8)))
    before = (folder / "mask.png").read_bytes()

    def refuse(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        inference.predict_file(folder / "two.safetensors", folder / "grey.png", folder / "mask.png")
    assert (folder / "mask.png").read_bytes() == before
