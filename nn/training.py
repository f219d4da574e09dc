"""Training a U-Net on labelled images: settings, the loop, the files it leaves behind."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from upconv import __version__
from upconv._extras import require

from . import metrics
from .data import VOID, Data, Sample, batches
from .files import Pathlike, write
from .functional import cross_entropy
from .images import InputError, png
from .inference import predict, probabilities
from .io import save
from .models import UNet
from .optim import Adam
from .preview import preview

Array = npt.NDArray[Any]

EVALUATIONS = 8  # how many times during a training the test images are predicted


class TrainingError(RuntimeError):
    """Training cannot go on; the message says what to try."""


@dataclass(frozen=True)
class Settings:
    """How to train. The learning rate rises over the first steps and falls to 0 along a cosine by the last.

    width, depth: of the U-Net; crop: height and width of the training crops, in pixels; batch: crops a step;
    lr: the peak learning rate of Adam; seed: of the weights and the crops. The defaults suit the embedded nuclei.
    """

    steps: int = 240
    width: int = 16
    depth: int = 3
    crop: int = 128
    batch: int = 4
    lr: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise InputError with one sentence for every value that is out of range."""
        problems = [
            f"{name} is {getattr(self, name)}; it must be 1 or more"
            for name in ("steps", "width", "depth", "crop", "batch")
            if getattr(self, name) < 1
        ]
        if not 0 < self.lr < math.inf:
            problems.append(f"lr is {self.lr}; it must be a positive number")
        if self.seed < 0:
            problems.append(f"seed is {self.seed}; it must be 0 or more")
        if not problems and self.crop % 2**self.depth:
            fits = max(self.crop >> self.depth, 1) << self.depth
            problems.append(
                f"crop is {self.crop}; with depth {self.depth} it must be a multiple of {2**self.depth}, say {fits}"
            )
        if problems:
            raise InputError(problems)

    def learning_rate(self, step: int) -> float:
        """lr min(t / w, (1 + cos(pi (t - 1) / steps)) / 2) at step t = 1..steps, w 20 (short runs: steps / 10)."""
        rise = step / min(20, max(self.steps // 10, 1))
        return self.lr * min(rise, (1 + math.cos(math.pi * (step - 1) / self.steps)) / 2)


@dataclass(frozen=True)
class Step:
    """What one training step gave, a row of metrics.csv. dice: of recent crops; test_dice: now and then."""

    step: int
    loss: float
    dice: float
    test_dice: float | None
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Result:
    """A trained model, what it scored on the test images (`metrics.confusion` counts) and the files that were written.

    interrupted: Ctrl-C came after `steps` steps; then there are no counts. baseline: the best threshold on the test
    images, where that makes sense (two classes, one channel). image: a file to try `upconv predict` on.
    """

    model: UNet
    steps: int
    seconds: float
    interrupted: bool
    model_file: Path | None
    counts: Array | None = None
    baseline: metrics.Threshold | None = None
    preview: Path | None = None
    image: Path | None = None


def build(data: Data, settings: Settings) -> UNet:
    """The untrained network for these data: its weights are drawn with the seed."""
    rng = np.random.default_rng((settings.seed, 0))
    return UNet(data.channels, data.classes, settings.width, settings.depth, rng=rng)


def train(data: Data, settings: Settings, output: Pathlike, on_step: Callable[[Step], None] | None = None) -> Result:
    """Train a U-Net and leave model.safetensors, metrics.csv and preview.png in the folder `output`.

    The metadata of model.safetensors name the data, the settings and the version of upconv.

    on_step is called after every step. Ctrl-C (KeyboardInterrupt) ends training: the model so far is saved. Files of
    an earlier training in the same folder are replaced: metrics.csv at the start, the others when they are complete.
    Raises TrainingError when the loss is no number, InputError where the folder cannot be written, ImportError before
    anything else where a package of the extra `train` is missing.
    """
    for module in ("safetensors.numpy", "PIL.Image", "matplotlib.figure"):
        require(module, extra="train")  # what the results are written with: better missed now than at the end
    output = Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        log = (output / "metrics.csv").open("w", newline="", buffering=1)  # every row reaches the file whole, at once
    except OSError as error:
        raise InputError(f"cannot write to the folder {output}: {error.strerror}") from error
    model, file, start = build(data, settings), output / "model.safetensors", perf_counter()
    origin = {"trained_on": data.title, "settings": json.dumps(asdict(settings)), "upconv.version": __version__}
    done, counts, interrupted = 0, None, False
    with log:
        rows = csv.writer(log)
        rows.writerow(field.name for field in fields(Step))
        try:
            for step, counts in fit(model, data, settings):
                rows.writerow("" if value is None else value for value in astuple(step))
                done = step.step
                if counts is not None:
                    save(model, file, origin)
                if on_step:
                    on_step(step)
        except KeyboardInterrupt:
            interrupted = True
    if done:
        save(model, file, origin)
    seconds = perf_counter() - start
    if interrupted:
        return Result(model, done, seconds, True, file if done else None)
    picture = _preview(model, data, output / "preview.png", counts)
    image = _image_to_try(data.test[0], output)
    return Result(model, done, seconds, False, file, counts, baseline(data), picture, image)


def fit(model: UNet, data: Data, settings: Settings) -> Iterator[tuple[Step, Array | None]]:
    """Train `model` step by step; yields after each what it gave, and now and then (and last) the test counts.

    The counts are for watching only: nothing is chosen by them.
    """
    optimizer = Adam(model.parameters(), lr=settings.lr)
    crops = batches(data.train, batch=settings.batch, crop=settings.crop, rng=np.random.default_rng((settings.seed, 1)))
    recent, start = np.zeros((data.classes, data.classes)), perf_counter()
    every = max(settings.steps // EVALUATIONS, 1)
    for step in range(1, settings.steps + 1):
        images, labels = next(crops)
        optimizer.lr = settings.learning_rate(step)
        model.train()
        with np.errstate(over="ignore", invalid="ignore"):  # divergence is reported once, below
            logits = model(images)
            loss = cross_entropy(logits, labels, ignore_index=VOID)
            value = loss.item()
            if not math.isfinite(value):
                raise TrainingError(
                    f"the loss became {value} at step {step}: the weights have diverged;"
                    f" try a smaller learning rate, --lr {settings.lr / 10:.1g} (it is {settings.lr:g})"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recent = 0.9 * recent + metrics.confusion(logits.data.argmax(1), labels, data.classes, void=VOID)
        counts = evaluate(model, data) if step % every == 0 or step == settings.steps else None
        test_dice = None if counts is None else metrics.headline(metrics.dice(counts))
        dice = metrics.headline(metrics.dice(recent))
        yield Step(step, value, dice, test_dice, optimizer.lr, round(perf_counter() - start, 3)), counts


def evaluate(model: UNet, data: Data) -> Array:
    """The `metrics.confusion` counts over all test images."""
    return sum(
        (metrics.confusion(predict(model, s.image), s.labels, data.classes, void=VOID) for s in data.test),
        start=np.zeros((data.classes, data.classes), np.int64),
    )


def baseline(data: Data) -> metrics.Threshold | None:
    """`metrics.best_threshold` over all test images together; None unless they are grey, with foreground as class 1."""
    labels = np.concatenate([sample.labels.ravel() for sample in data.test])
    if data.classes != 2 or data.channels != 1 or not (labels == 1).any():
        return None
    return metrics.best_threshold(np.concatenate([sample.image.ravel() for sample in data.test]), labels, void=VOID)


def _preview(model: UNet, data: Data, path: Path, counts: Array | None) -> Path:
    sample = data.test[0]
    score = "" if counts is None else f", test Dice {metrics.headline(metrics.dice(counts)):.3f}"
    title = f"{data.title}: {sample.name}, held out{score}"
    preview(path, sample.image, sample.labels, probabilities(model, sample.image), title=title)
    return path


def _image_to_try(sample: Sample, output: Path) -> Path | None:
    """The file of a test image; of the embedded ones, which have none, a copy is written."""
    if sample.path or sample.image.dtype != np.uint8 or sample.image.shape[2] != 1:
        return sample.path
    path = output / "test_image.png"
    write(path, png(sample.image[:, :, 0]))
    return path
