import os

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from prediction_cases import image

from upconv import nn
from upconv.nn import inference, overlay, prediction
from upconv.nn.images import InputError, png, read_image
from upconv.nn.preview import displayed


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


def test_all_probabilities_and_tiles(folder):
    files = [folder / name for name in ("four.safetensors", "wide.npy", "mask.png", "probability.npy")]
    np.save(files[1], image(90, 80, 3))
    told = []
    labels = prediction.predict_file(*files, tile=1, on_tile=lambda *numbers: told.append(numbers))
    scores = inference.probabilities(nn.load(files[0]), read_image(files[1]), tile=1)
    assert len(told) > 1
    assert np.array_equal(labels, scores.argmax(0))
    written = np.load(files[3])
    assert written.dtype == np.float32
    assert np.array_equal(written, scores)


def test_nothing_is_written_of_what_was_interrupted(folder):
    before = set(os.listdir(folder))

    def interrupt(*_):
        raise KeyboardInterrupt

    files = [folder / name for name in ("four.safetensors", "colour.tif", "mask.png", "probability.npy", "overlay.png")]
    with pytest.raises(KeyboardInterrupt):
        prediction.predict_file(*files, on_tile=interrupt)
    assert set(os.listdir(folder)) == before


def test_the_overlay_shows_the_labels_on_the_image(folder):
    labels = prediction.predict_file(
        folder / "two.safetensors", folder / "grey.png", folder / "mask.png", overlay=folder / "overlay.png"
    )
    expected = overlay.overlay(read_image(folder / "grey.png"), labels, 2)
    assert np.array_equal(read_image(folder / "overlay.png"), expected)


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (2, 3), (4, 3), (4, 5)])
def test_borders_are_drawn_and_what_is_inside_is_tinted(classes, channels, monkeypatch):
    picture, labels = image(60, 50, channels), np.zeros((60, 50), np.uint8)
    labels[10:30, 20:40] = classes - 1
    labels[29:40, :5] = 1
    drawn = overlay.overlay(picture, labels, classes)
    shown = np.rint(255 * displayed(picture)).astype(int)
    shown = shown if channels == 3 else np.repeat(shown[:, :, None], 3, 2)
    assert drawn.dtype == np.uint8 and (drawn[labels == 0] == shown[labels == 0]).all()
    border = np.zeros_like(labels, bool)
    border[10:30, 20:40] = True
    border[11:29, 21:39] = False
    (colour,) = np.unique(drawn[border], axis=0)
    assert len(set(colour.tolist())) > 1  # no grey
    inside = drawn[11:29, 21:39].astype(float)
    expected = (1 - overlay.TINT) * shown[11:29, 21:39] + overlay.TINT * colour
    assert abs(inside - expected).max() <= 1
    assert (drawn[30:39, :4] != shown[30:39, :4]).any() and (drawn[39, :5] == drawn[30, 4]).all()
    monkeypatch.setattr(overlay, "STRIP", 7)
    assert np.array_equal(overlay.overlay(picture, labels, classes), drawn)


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
    for name, wrong in (("probability", "a.tif"), ("overlay", "a.npy")):
        with pytest.raises(InputError, match=f"{wrong} must be named .*it is to hold the {name}"):
            files = [folder / each for each in ("two.safetensors", "grey.png", "mask.png")]
            prediction.predict_file(*files, **{name: folder / wrong})
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
