import os
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from network_cases import NETWORKS, randomised
from PIL import Image

from upconv import nn
from upconv.nn import inference, prediction, sight
from upconv.nn.data import normalise
from upconv.nn.images import InputError, png, read_image


def direct(model, x):
    with nn.no_grad():
        return nn.softmax(model(x[None])).data[0]


def image(height, width, channels=1):
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, channels)).astype(np.uint8)


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


DENSE = [name for name in NETWORKS if name.startswith(("U-Net", "FCN", "SegNet", "DeconvNet"))]
SHARP = ("U-Net", "U-Net, unpadded", "SegNet, two stages", "DeconvNet, tied")  # whose filters reach as far as they can


def network(name, dtype="float32"):
    return randomised(NETWORKS[name][0]()).to(dtype)


def both(model, picture, tile):
    """(the result in tiles, that of the whole image)."""
    told = []
    tiled = nn.probabilities(model, picture, tile=tile, on_tile=lambda *numbers: told.append(numbers))
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)] and len(told) > 1
    return tiled, nn.probabilities(model, picture)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-12)])
def test_tiles_give_what_the_whole_image_gives(name, dtype, bound):
    """In float64 no kernel is Winograd's: nothing but the order of sums may differ."""
    model, side = network(name, dtype), 141 if name in SHARP else 300
    picture = image(side, 90, model.in_channels)
    tiled, whole = both(model, picture, 33)
    assert whole.std() > 0.01
    assert abs(tiled - whole).max() <= bound
    np.testing.assert_array_equal(nn.predict(model, picture, tile=33), tiled.argmax(0))


@pytest.mark.parametrize("name", [name for name in SHARP if "unpadded" not in name])  # that has no border to see
def test_tiles_with_less_around_them_would_not_do(name, monkeypatch):
    model = network(name, "float64")
    picture, seen = image(141, 90, model.in_channels), sight.sight(model, model.in_channels)
    half = replace(seen, first=seen.first // 4, last=seen.last // 4)
    monkeypatch.setattr(inference, "sight", lambda *_: half)
    tiled, whole = both(model, picture, 16)
    assert abs(tiled - whole).max() > 1e-6


@pytest.mark.parametrize("name", DENSE)
def test_a_score_sees_no_further_than_is_said(name):
    """One pixel changes no score whose window it is not in."""
    model = network(name, "float64")
    seen = sight.sight(model, model.in_channels)
    size = seen.fitted(seen.last - seen.first + 80)
    x = np.random.default_rng(1).standard_normal((3, model.in_channels, size, size))
    x[1:] = x[0]
    place = size // 2
    x[1:, :, place, place] += np.array([[1e4], [-1e4]])
    with nn.no_grad():
        scores = model.eval()(x).data
    rows = np.argwhere((scores[1:] != scores[0]).any((0, 1)))[:, 0]
    assert place - seen.last <= rows.min() <= rows.max() <= place - seen.first


class Own(nn.Module):
    """A network that is none of ours."""

    def __init__(self, kind):
        self.kind, self.conv = kind, nn.Conv2d(1, 3, 5, padding=2, rng=0)
        self.last = nn.Conv2d(3, 3, 3, rng=1)

    def forward(self, x):
        y = self.conv(x)
        if self.kind == "global":
            return y + nn.global_avg_pool2d(y)
        if self.kind == "coordinates":
            return y + np.linspace(0, 1, y.shape[3], dtype=y.dtype)[None, None, None]
        if self.kind == "enlarged":
            return self.last(nn.interpolate(nn.avg_pool2d(y, 3), scale_factor=3, mode="bilinear"))
        return nn.relu(self.last(nn.interpolate(nn.max_pool2d(y, 2), scale_factor=2)) * 0.5)


@pytest.mark.parametrize("kind", ["nearest", "enlarged"])
def test_networks_of_ones_own_are_tiled(kind):
    tiled, whole = both(Own(kind), image(60, 70), 16)
    assert abs(tiled - whole).max() <= 1e-5


@pytest.mark.parametrize("kind", ["global", "coordinates"])
def test_what_depends_on_everything_gets_the_whole_image(kind):
    model, picture = Own(kind), image(40, 50)
    assert not sight.sight(model, 1).bounded
    tiled = nn.probabilities(model, picture, tile=8)
    np.testing.assert_array_equal(tiled, direct(model, normalise(picture)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Autoencoder", "Autoencoder labels no pixels: it has no classes"),
        ("LeNet", "LeNet labels no pixels: of 32 x 32 pixels it makes 1 x 10"),
        ("ResNet", "ResNet labels no pixels: of 1 x 1 pixels it makes 1 x 5"),
    ],
)
def test_networks_that_label_no_pixels(name, message):
    model = NETWORKS[name][0]()
    with pytest.raises(ValueError, match=message):
        nn.predict(model, image(32, 32, model.in_channels))


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
    labels = prediction.predict_file(folder / "two.safetensors", folder / "grey.png", mask, probability)
    scores = inference.probabilities(nn.load(folder / "two.safetensors"), read_image(folder / "grey.png"))
    assert set(np.unique(labels)) == {0, 1}
    assert np.array_equal(labels, scores.argmax(0))
    assert np.array_equal(read_image(mask)[:, :, 0], labels * 255)
    assert np.array_equal(read_image(probability)[:, :, 0], np.rint(scores[1] * 255))


def test_files_of_more_classes_hold_their_indices(folder):
    mask, probability = folder / "mask.png", folder / "probability.png"
    labels = prediction.predict_file(folder / "four.safetensors", folder / "colour.tif", mask, probability)
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
            prediction.predict_file(folder / model, folder / picture, folder / output)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="mask and probability at once"):
        prediction.predict_file(folder / "two.safetensors", folder / "grey.png", folder / "a.png", folder / "a.png")
    assert not [name for name in os.listdir(folder) if "mask" in name or name.startswith(".")]


def test_files_of_other_networks(folder):
    nn.save(nn.SegNet(1, 2, 2, depth=3, rng=0), folder / "segnet.safetensors")
    nn.save(nn.LeNet(rng=0), folder / "lenet.safetensors")
    labels = prediction.predict_file(folder / "segnet.safetensors", folder / "grey.png", folder / "mask.png")
    assert np.array_equal(read_image(folder / "mask.png")[:, :, 0], labels * 255) and labels.shape == (21, 34)
    with pytest.raises(InputError, match=r"lenet.safetensors with .*grey.png: predict: LeNet labels no pixels"):
        prediction.predict_file(folder / "lenet.safetensors", folder / "grey.png", folder / "mask.png")


def test_an_old_mask_stays_whole_until_the_new_one_is(folder, monkeypatch):
    (folder / "mask.png").write_bytes(png(np.zeros((2, 2), np.uint8)))
    before = (folder / "mask.png").read_bytes()

    def refuse(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        prediction.predict_file(folder / "two.safetensors", folder / "grey.png", folder / "mask.png")
    assert (folder / "mask.png").read_bytes() == before
