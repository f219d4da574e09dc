import csv
import math

import numpy as np
import pytest
from PIL import Image

from upconv import kernels, nn
from upconv.nn.data import VOID, Data, Sample, nuclei
from upconv.nn.folder import read_folder
from upconv.nn.images import InputError, read_image
from upconv.nn.training import Settings, TrainingError, train

SMALL = Settings(steps=6, width=2, depth=2, crop=32, batch=2)


def weights(model):
    return {name: array.copy() for name, array in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_what_a_training_leaves_behind(tmp_path):
    steps = []
    result = train(nuclei(1), SMALL, tmp_path / "a" / "b", steps.append)
    assert (result.steps, result.interrupted) == (6, False)
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    files = {path.name for path in (tmp_path / "a" / "b").iterdir()}
    assert files == {"model.safetensors", "metrics.csv", "preview.png", "test_image.png"}
    assert same(weights(nn.load(result.model_file)), weights(result.model))
    assert result.counts.sum() == 256 * 256
    assert result.baseline.dice == pytest.approx(0.8707, abs=1e-4)
    assert np.array_equal(read_image(result.image), nuclei(1).test[0].image)
    with open(tmp_path / "a" / "b" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "loss", "dice", "test_dice", "learning_rate", "seconds"]
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(float(row["loss"])) for row in rows)
    preview = read_image(tmp_path / "a" / "b" / "preview.png")
    assert preview.shape[1] > 3 * preview.shape[0]


def test_the_loss_falls(tmp_path):
    steps = []
    train(nuclei(), Settings(steps=60, width=8, depth=1, crop=48, batch=2, lr=5e-3), tmp_path, steps.append)
    assert np.mean([step.loss for step in steps[-10:]]) < 0.6 * steps[0].loss
    assert steps[-1].dice > 0.6


def test_the_same_seed_gives_the_same_weights_for_any_number_of_threads(tmp_path):
    with kernels.num_threads(1):
        first = weights(train(nuclei(), SMALL, tmp_path).model)
    with kernels.num_threads(3):
        again = weights(train(nuclei(), SMALL, tmp_path).model)
    other = weights(train(nuclei(), Settings(**{**vars(SMALL), "seed": 1}), tmp_path).model)
    assert same(first, again)
    assert not same(first, other)


def test_colour_images_with_three_classes_and_void(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for i in range(5):
        labels = rng.integers(0, 3, (3, 4)).repeat(8, 0).repeat(8, 1).astype(np.uint8)[: 24 - i]
        colours = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)
        noise = rng.integers(0, 30, (*labels.shape, 3)).astype(np.uint8)
        Image.fromarray(colours[labels] + noise).save(tmp_path / "data" / "images" / f"{i}.png")
        labels[:, :3] = VOID
        Image.fromarray(labels).save(tmp_path / "data" / "masks" / f"{i}.png")
    data = read_folder(tmp_path / "data", validation=0.4)
    settings = Settings(steps=60, width=8, depth=1, crop=32, batch=2, lr=5e-3)  # larger than the images
    result = train(data, settings, tmp_path / "out")
    assert result.counts.shape == (3, 3)
    assert result.counts.sum() == sum((sample.labels != VOID).sum() for sample in data.test)
    assert np.trace(result.counts) > 0.9 * result.counts.sum()
    assert result.baseline is None
    assert result.image == data.test[0].path
    assert (tmp_path / "out" / "preview.png").is_file()


def test_ctrl_c_saves_the_model_so_far(tmp_path):
    kept = {}

    def interrupt(step):
        if step.step == 2:
            raise KeyboardInterrupt

    result = train(nuclei(), SMALL, tmp_path, interrupt)
    assert (result.interrupted, result.steps, result.counts, result.preview) == (True, 2, None, None)
    kept = weights(nn.load(result.model_file))
    assert same(kept, weights(result.model))
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "metrics.csv"}


def test_ctrl_c_before_the_first_step_saves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(nn.UNet, "forward", interrupt)
    result = train(nuclei(), SMALL, tmp_path)
    assert (result.interrupted, result.steps, result.model_file) == (True, 0, None)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path):
    settings = Settings(steps=50, width=2, depth=2, crop=16, batch=1, lr=1e30)
    with pytest.raises(
        TrainingError, match=r"the loss became \S+ at step \d+: .* try a smaller learning rate, --lr 1e\+29"
    ):
        train(nuclei(), settings, tmp_path)


def test_test_images_may_be_void_or_empty_of_foreground(tmp_path):
    image = np.random.default_rng(0).integers(0, 900, (16, 16, 1)).astype(np.int32)
    labels = np.zeros((16, 16), np.uint8)
    good = Sample("", image, labels + (image[:, :, 0] > 400))
    data = Data("", "", (good, good), (Sample("", image, labels),), 2)
    result = train(data, Settings(steps=1, width=2, depth=1, crop=16, batch=1), tmp_path)
    assert (result.baseline, result.image) == (None, None)


def test_an_output_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to the folder .*file: "):
        train(nuclei(), SMALL, tmp_path / "file")


def test_the_learning_rate_rises_then_falls_to_nothing():
    settings = Settings(steps=200, lr=1.0)
    rates = [settings.learning_rate(step) for step in range(1, 201)]
    assert rates[:3] == pytest.approx([0.05, 0.1, 0.15])
    assert max(rates) == pytest.approx(1, abs=0.05)
    assert rates.index(max(rates)) == 19
    assert 0 < rates[-1] < 1e-3
    assert Settings(steps=1).learning_rate(1) == Settings.lr


def test_settings_say_everything_that_is_wrong():
    with pytest.raises(InputError) as error:
        Settings(steps=0, width=-1, lr=math.nan, seed=-3)
    assert error.value.problems == (
        "steps is 0; it must be 1 or more",
        "width is -1; it must be 1 or more",
        "lr is nan; it must be a positive number",
        "seed is -3; it must be 0 or more",
    )
    with pytest.raises(InputError, match="crop is 100; with depth 3 it must be a multiple of 8, say 96"):
        Settings(crop=100)
    with pytest.raises(InputError, match="say 8"):
        Settings(crop=5)
