import csv
import logging
import math
import os
import signal

import numpy as np
import pytest
from PIL import Image
from training_cases import QUICK, data, images, model, rows, same

from upconv import kernels, nn
from upconv.errors import InputError
from upconv.nn import training
from upconv.nn.configured import build
from upconv.nn.data import VOID, Data, Sample, nuclei
from upconv.nn.folder import read_folder
from upconv.nn.images import read_image
from upconv.nn.trainer import Trainer, class_weights
from upconv.nn.training import fit
from upconv.settings import Network, Settings

SMALL = Settings(steps=6, crop=32, batch=2)
FILES = {
    *("model.safetensors", "best.safetensors", "checkpoint.safetensors", "config.toml", "metrics.csv"),
    *("evaluation.csv", "progress.png", "preview.png"),
}


def train(dataset, settings, output=None, on_step=None, **network):
    network = Network(**{"width": 2, "depth": 2} | network)
    return fit(build(dataset, network, settings.seed), dataset, output, settings=settings, on_step=on_step)


def test_what_a_training_leaves_behind(tmp_path):
    steps = []
    result = train(nuclei(1), SMALL, tmp_path / "a" / "b", steps.append)
    assert (result.steps, result.interrupted) == (6, False)
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == FILES | {"test_image.png"}
    assert same(nn.load(result.model_file), result.model)
    assert result.counts.sum() == 256 * 256
    assert result.best == max(step.validation_dice for step in steps)
    assert result.baseline.dice == pytest.approx(0.8707, abs=1e-4)
    assert np.array_equal(read_image(result.image), nuclei(1).test[0].image)
    with open(tmp_path / "a" / "b" / "metrics.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["step", "loss", "dice", "validation_dice", "learning_rate", "seconds"]
    assert [int(row["step"]) for row in table] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(float(row["loss"])) for row in table)
    preview = read_image(tmp_path / "a" / "b" / "preview.png")
    assert preview.shape[1] > 3 * preview.shape[0]


def test_without_a_folder_nothing_is_written_and_the_result_is_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone, kept = model(), model()
    result = fit(alone, data(), **QUICK)
    assert not list(tmp_path.iterdir()) and result.model_file is None
    fit(kept, data(), tmp_path / "run", **QUICK)
    assert same(alone, kept)


def test_the_loss_falls():
    steps = []
    train(nuclei(), Settings(steps=60, crop=48, batch=2, lr=5e-3), on_step=steps.append, width=8, depth=1)
    assert np.mean([step.loss for step in steps[-10:]]) < 0.6 * steps[0].loss
    assert steps[-1].dice > 0.6


def test_the_same_seed_gives_the_same_weights_for_any_number_of_threads():
    with kernels.num_threads(1):
        first = train(nuclei(), SMALL).model
    with kernels.num_threads(3):
        again = train(nuclei(), SMALL).model
    other = train(nuclei(), Settings(**{**vars(SMALL), "seed": 1})).model
    assert same(first, again)
    assert not same(first, other)


def test_the_global_generator_is_left_alone():
    nn.manual_seed(3)
    expected = nn.Conv2d(1, 1, 3).weight.data
    nn.manual_seed(3)
    dropping = [model(dropout=0.5), model(dropout=0.5)]
    for each in dropping:
        fit(each, data(), **QUICK)
    assert same(*dropping)
    np.testing.assert_array_equal(nn.Conv2d(1, 1, 3).weight.data, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "nesterov": True, "schedule": "step", "step_size": 20, "gamma": 0.5, "lr": 0.05},
        {"optimizer": "rmsprop", "schedule": "polynomial", "clip_grad_norm": 1.0, "momentum": 0.0, "lr": 5e-3},
        {"optimizer": "adagrad", "schedule": "constant", "lr": 0.03},
        {"optimizer": "adamw", "schedule": "one_cycle", "weight_decay": 0.01, "accumulate": 2, "lr": 0.01},
        {"class_weights": (1, 3), "intensity": 0.2, "noise": 0.1, "rotate": 30, "scale": 0.2, "elastic": 1, "lr": 0.01},
        {"class_weights": "balanced", "symmetry": "none", "lr": 0.01},
    ],
)
def test_every_way_to_train_learns(options):
    result = fit(model(width=8), data(), steps=60, crop=16, batch=4, **{"symmetry": "square"} | options)
    assert np.trace(result.counts) > 0.85 * result.counts.sum()


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
    dataset = read_folder(tmp_path / "data", validation=0.4)
    settings = Settings(steps=60, crop=32, batch=2, lr=5e-3)  # larger than the images
    result = train(dataset, settings, tmp_path / "out", width=8, depth=1)
    assert result.counts.shape == (3, 3)
    assert result.counts.sum() == sum((sample.labels != VOID).sum() for sample in dataset.test)
    assert np.trace(result.counts) > 0.9 * result.counts.sum()
    assert result.baseline is None
    assert result.image == dataset.test[0].path
    assert (tmp_path / "out" / "preview.png").is_file()


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.UNet(1, 2, 2, 1, padded=False, rng=0),
        lambda: nn.SegNet(in_channels=1, classes=2, width=2, depth=1, rng=0),
        lambda: nn.FCN8s(in_channels=1, classes=2, width=2, rng=0),
    ],
)
def test_other_networks(make, tmp_path):
    result = fit(make(), data(size=48), tmp_path, steps=2, crop=44, batch=1)
    assert result.counts.sum() == 48 * 48 * 2
    assert same(nn.load(result.model_file), result.model)


# Evaluation


def test_a_class_that_is_absent_counts_nowhere(tmp_path):
    pixels, labels = images(classes=3)
    parts = [Sample(str(i), x, y) for i, (x, y) in enumerate(zip(pixels, labels % 2, strict=True))]
    result = fit(model(classes=3), Data("", "", tuple(parts[:5]), tuple(parts[5:]), 3), tmp_path, **QUICK)
    with open(tmp_path / "evaluation.csv", newline="") as file:
        table = {row["class"]: row for row in csv.DictReader(file)}
    counts = result.counts
    assert counts[:, 2].sum() == 0, "predicted after all: the test shows nothing"
    assert (table["2"]["pixels"], table["2"]["dice"], table["2"]["iou"]) == ("0", "", "")
    dice = [2 * counts[k, k] / (counts[k].sum() + counts[:, k].sum()) for k in range(2)]
    assert float(table["mean"]["dice"]) == pytest.approx(np.mean(dice), abs=1e-6)


def test_validation_images_are_watched_and_the_test_is_not():
    dataset, seen = data(validation=2), []
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [3, 2, 1]
    last = fit(model(), dataset, on_step=seen.append, **QUICK)
    assert last.counts.sum() == 24 * 24
    trainer = Trainer(model(), dataset, Settings(**QUICK))
    assert trainer.data.watched == dataset.validation


def test_early_stopping_keeps_the_best_weights(tmp_path):
    best, dice = {}, []

    def watch(step):
        dice.append(step.validation_dice)
        if step.validation_dice == max(dice):
            best.update({name: array.copy() for name, array in network.state_dict().items()})

    network = model(width=4)
    options = {"steps": 400, "crop": 16, "batch": 1, "lr": 0.05, "evaluate_every": 1, "early_stopping": 5}
    result = fit(network, data(), tmp_path, on_step=watch, **options)
    assert len(dice) == result.steps < 400
    assert result.best == max(dice) == dice[-6] and dice[-6] > max(dice[-5:])
    assert all(np.array_equal(array, best[name]) for name, array in network.state_dict().items())
    assert same(nn.load(tmp_path / "model.safetensors"), network)
    assert same(nn.load(tmp_path / "best.safetensors"), network)


def test_balanced_weights_are_those_of_the_training_images():
    labels = np.zeros((4, 6), np.uint8)
    labels[0, :3], labels[3] = 1, VOID  # 15 of 0, 3 of 1, none of 2
    sample = Sample("", np.zeros((4, 6, 1)), labels)
    dataset = Data("", "", (sample,), (sample,), 3)
    weights = class_weights(dataset, Settings(class_weights="balanced"), np.float32)
    np.testing.assert_allclose(weights, [18 / 45, 18 / 9, 0])


# What goes wrong


def test_ctrl_c_saves_a_checkpoint(tmp_path):
    def interrupt(step):
        if step.step == 2:
            raise KeyboardInterrupt

    result = train(nuclei(), SMALL, tmp_path, interrupt)
    assert (result.interrupted, result.steps, result.counts, result.preview) == (True, 2, None, None)
    assert same(nn.load(result.model_file), result.model)
    assert len(rows(tmp_path)) == 3
    files = {path.name for path in tmp_path.iterdir()}
    assert files >= {"model.safetensors", "metrics.csv", "checkpoint.safetensors", "config.toml"}
    assert not files & {"preview.png", "evaluation.csv"}


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_the_first_sigint_waits_for_the_step_and_the_second_does_not(tmp_path, monkeypatch, caplog):
    forward, calls = nn.UNet.forward, []

    def hurried(self, *arguments):
        if self.training:
            calls.append(len(calls))
            for _ in range({1: 1, 3: 2}.get(len(calls) - 1, 0)):
                os.kill(os.getpid(), signal.SIGINT)
        return forward(self, *arguments)

    monkeypatch.setattr(nn.UNet, "forward", hurried)
    with caplog.at_level(logging.WARNING, logger="upconv"):
        first = fit(model(), data(), tmp_path, **QUICK)
    assert (first.interrupted, first.steps) == (True, 2)
    assert "Ctrl-C again stops at once" in caplog.text
    second = fit(model(), data(), tmp_path, resume=True, **QUICK)
    assert (second.interrupted, second.steps) == (True, 3)  # amid the fourth
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ended = fit(model(), data(), tmp_path, resume=True, **QUICK)
    monkeypatch.undo()
    whole = model()
    fit(whole, data(), **QUICK)
    assert not ended.interrupted and same(ended.model, whole)


def test_ctrl_c_in_the_first_step_saves_nothing(tmp_path, monkeypatch):
    forward = nn.UNet.forward

    def interrupt(self, *arguments):
        if self.training:
            raise KeyboardInterrupt
        return forward(self, *arguments)

    monkeypatch.setattr(nn.UNet, "forward", interrupt)
    result = train(nuclei(), SMALL, tmp_path)
    assert (result.interrupted, result.steps, result.model_file) == (True, 0, None)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.csv", "config.toml"}


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path):
    with pytest.raises(
        nn.TrainingError,
        match=r"the loss became \S+ at step \d+: .* try a smaller learning rate, lr 1e\+29 \(it is 1e\+30\)",
    ):
        fit(model(), data(), tmp_path, steps=50, crop=16, batch=1, lr=1e30, checkpoint_every=1)
    weights = nn.load(tmp_path / "model.safetensors").state_dict()  # of the last step that was right
    assert all(np.isfinite(array).all() for array in weights.values())


def test_weights_that_are_no_numbers_are_not_kept(tmp_path):
    network = model()
    fit(network, data(), tmp_path, **QUICK)
    kept = (tmp_path / "checkpoint.safetensors").read_bytes()

    def spoil(step):
        network.head.bias.data[0] = np.nan

    with pytest.raises(nn.TrainingError, match="weights became infinite or NaN at step 7"):
        settings = {**QUICK, "steps": 7}
        fit(network, data(), tmp_path / "other", on_step=lambda s: spoil(s) if s.step == 7 else None, **settings)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == kept


def test_crops_whose_middle_is_void_teach_nothing_and_break_nothing():
    pixels, labels = images(size=64)
    labels[:, 8:-8, 8:-8] = VOID
    network = nn.UNet(1, 2, 2, 1, padded=False, rng=0)
    seen = []
    fit(network, nn.from_arrays(pixels, labels), on_step=seen.append, steps=8, crop=20, batch=1)
    assert all(math.isfinite(step.loss) for step in seen)
    assert 0.0 in [step.loss for step in seen]


def test_test_images_may_be_void_or_empty_of_foreground():
    image = np.random.default_rng(0).integers(0, 900, (16, 16, 1)).astype(np.int32)
    labels = np.zeros((16, 16), np.uint8)
    good = Sample("", image, labels + (image[:, :, 0] > 400))
    dataset = Data("", "", (good, good), (Sample("", image, labels),), 2)
    result = train(dataset, Settings(steps=1, crop=16, batch=1), depth=1)
    assert (result.baseline, result.image) == (None, None)


def test_an_output_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to the folder .*file: "):
        train(nuclei(), SMALL, tmp_path / "file")


def spoilt(**changes):
    """Data with one training sample changed."""
    good = data()
    first = {name: getattr(good.train[0], name) for name in ("name", "image", "labels")}
    return Data("", "", (Sample(**first | changes), *good.train[1:]), good.test, 2)


class Own(nn.Module):
    """One convolution: for 16 x 16 pixels alone, without padding, or of stride 2."""

    def __init__(self, kind):
        self.fixed, padding, stride = kind == "fixed", int(kind != "shrinking"), 1 + (kind == "coarse")
        self.conv = nn.Conv2d(1, 2, 3, stride, padding, rng=0)

    def forward(self, x):
        if self.fixed and x.shape[2:] != (16, 16):
            raise ValueError("16 x 16 is needed")
        return self.conv(x)


@pytest.mark.parametrize(
    ("network", "dataset", "options", "message"),
    [
        (model, data, {"resume": True}, "fit: output is None; resume=True needs the folder"),
        (model, data, {"flip": True}, "fit: there is no setting 'flip'"),
        (model, data, {"step": 3}, "there is no setting 'step'; do you mean steps?"),
        (model, data, {"steps": "3"}, "steps is '3'; it must be 1 or more"),
        (model, data, {"class_weights": (1, 2, 3)}, "class_weights are 3 numbers; there are 2 classes"),
        (model, data, {"crop": 15}, "crop is 15, .* both must be multiples of 2, here at least 16 x 16"),
        (lambda: model(in_channels=3), data, {}, "crop is 16, with 1 channels, .* N x 3 x H x W is needed"),
        (lambda: nn.Autoencoder(size=16), data, {}, "the model's scores are 1 x 1 x 16 x 16; 1 x 2 x 16 x 16"),
        (lambda: Own("fixed"), data, {}, "image 2: the model cannot predict it as a whole: 16 x 16 is needed"),
        (lambda: Own("coarse"), data, {}, "image 2: the model cannot .*: Own labels no pixels: .* 2 pixels apart"),
        (lambda: model(classes=5), data, {}, "the model's scores are 1 x 5 x 16 x 16; 1 x 2 x 16 x 16"),
        (model, lambda: Data("", "", (), data().test, 2), {}, "data: there is no image for train"),
        (model, lambda: Data("", "", data().train, (), 2), {}, "data: there is no image for test"),
        (model, lambda: spoilt(labels=np.zeros((5, 5), np.uint8)), {}, r"its image is \(24, 24, 1\), its labels"),
        (model, lambda: spoilt(labels=np.full((24, 24), 7, np.uint8)), {}, "its labels go to 7; there are 2 classes"),
        (model, lambda: spoilt(image=np.zeros((24, 24, 2))), {}, "has 1 channels, the first 2"),
    ],
)
def test_what_is_checked_before_training(network, dataset, options, message, monkeypatch):
    monkeypatch.setattr(training, "Trainer", None)  # not reached
    with pytest.raises(InputError, match=message):
        fit(network(), dataset(), **QUICK | options)


@pytest.mark.parametrize("network", [lambda: Own("shrinking"), lambda: nn.SegNet(1, 2, 2, depth=4, rng=0)])
def test_any_network_that_labels_pixels_is_scored_on_whole_images(network):
    """One that needs a margin, and one whose pixels are 16 apart at the bottom."""
    dataset = data()
    counts = fit(network(), dataset, **QUICK).counts
    assert counts.sum() == sum((sample.labels != VOID).sum() for sample in dataset.test)


def test_a_model_that_cannot_be_saved_is_told_before_training(tmp_path):
    class Mine(nn.UNet):
        pass

    with pytest.raises(ValueError, match="Mine cannot be rebuilt by load"):
        fit(Mine(1, 2, 2, 1), data(), tmp_path, **QUICK)
    fit(Mine(1, 2, 2, 1), data(), **QUICK)
