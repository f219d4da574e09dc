"""Training a network on labelled images: what is checked before, the loop, what is scored at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import kernels
from ..errors import InputError
from ..settings import Settings, unknown
from . import metrics
from .check import check
from .configured import placed
from .data import Array, Data, Sample
from .evaluation import baseline, evaluate, write_table
from .files import Pathlike, write
from .images import png
from .inference import probabilities
from .interrupt import Interrupt
from .loading import Loader
from .module import Module
from .preview import preview
from .record import Record
from .trainer import Step, Trainer


@dataclass(frozen=True)
class Result:
    """A trained model, what it scored on the test images (`metrics.confusion` counts) and the files that were written.

    steps: how many were done; interrupted: by Ctrl-C, and then there are no counts; best: the best Dice of the images
    that were watched. baseline: the best threshold on the test images, where that makes sense (two classes, one
    channel). image: a file to try `upconv predict` on. Files are None where none was written.
    """

    model: Module
    steps: int
    seconds: float
    interrupted: bool
    best: float
    counts: Array | None = None
    baseline: metrics.Threshold | None = None
    model_file: Path | None = None
    preview: Path | None = None
    image: Path | None = None


def fit(
    model: Module,
    data: Data,
    output: Pathlike | None = None,
    *,
    settings: Settings | None = None,
    resume: bool = False,
    on_step: Callable[[Step], None] | None = None,
    config: Mapping[str, Any] | None = None,
    **options: Any,
) -> Result:
    """Train a network to label every pixel, in place; cross-entropy over the pixels that are not void (255).

    model: N x C x H x W images to N x classes x H' x W' scores, H' and W' as large or smaller (then of the middle).
    data: from `from_arrays`, `read_folder` or `nuclei`; checked, with the model, before anything is trained.
    settings, options: `Settings`, and any of them by name. The same settings, data and weights give the same result bit
    for bit, for any number of threads. on_step is called after every step. device="cuda" moves the model to a GPU,
    where it stays, and every batch; of a step its loss and counts of labels come back.

    output: a folder for model.safetensors (the last weights, or with early_stopping the best), best.safetensors (the
    best Dice on images that are watched), checkpoint.safetensors, config.toml (all settings, and what `config` adds),
    metrics.csv (a row a step), evaluation.csv (Dice and IoU of every class), progress.png and preview.png. Each appears
    complete or not at all; those of an earlier training there are replaced. Needs the extra `train`, and a model that
    `save` can write. None: nothing is written.

    resume=True goes on from the checkpoint in `output`, if there is one, with the same settings, data and model (its
    weights are replaced): what comes out equals what an uninterrupted training gives, bit for bit. Ctrl-C ends training
    after the step at hand and writes a checkpoint. Killed, it loses what came after the last one.

    Raises InputError for what cannot be trained on or written to, TrainingError when the loss is no number, ImportError
    before anything else where a package is missing.

    >>> import numpy as np
    >>> from upconv import nn
    >>> images = np.random.default_rng(0).random((8, 32, 32))
    >>> data = nn.from_arrays(images, images > 0.5)
    >>> model = nn.UNet(in_channels=1, classes=2, width=4, depth=1, rng=0)
    >>> result = nn.fit(model, data, steps=30, crop=32, lr=0.02, optimizer="adamw", rotate=180)
    >>> result.steps, bool(result.counts.trace() > 0.8 * result.counts.sum())
    (30, True)
    """
    if resume and output is None:
        raise InputError("fit: output is None; resume=True needs the folder of the training to go on with")
    names = [each.name for each in fields(Settings)]
    if wrong := [f"fit: {unknown(name, names)}" for name in options if name not in names]:
        raise InputError(wrong)
    settings = replace(settings or Settings(), **options)
    with ExitStack() as stack:
        if settings.precision is not None:
            stack.enter_context(kernels.precision(settings.precision))
        check(placed(model, settings.device), data, settings)
        trainer = Trainer(model, data, settings)
        record = None
        if output is not None:
            record = stack.enter_context(Record(Path(output), trainer, resume=resume, config=config or {}))
        interrupted = not _loop(trainer, record, on_step)
        result = Result(model, trainer.done, trainer.seconds, interrupted, trainer.best)
        if interrupted:
            return replace(result, model_file=record.model_file if record else None)
        if settings.early_stopping and trainer.best_state is not None:
            model.load_state_dict(trainer.best_state)
            trainer.counts = None
        counts = trainer.counts if trainer.counts is not None and not data.validation else None
        counts = evaluate(model, data.test, data.classes) if counts is None else counts
        result = replace(result, counts=counts, baseline=baseline(data.test, data.classes))
        return _with_files(result, record, data) if record else result


def _loop(trainer: Trainer, record: Record | None, on_step: Callable[[Step], None] | None) -> bool:
    """Train to the end; False where Ctrl-C came before. Then, and now and then before, there is a checkpoint."""
    every = trainer.settings.checkpoint_every or trainer.every
    with Interrupt() as interrupt, Loader(trainer.batches()) as drawn:
        try:
            while not trainer.finished:
                step = trainer.step(drawn)
                if record:
                    record.step(step)
                if on_step:
                    on_step(step)
                if record and (step.step % every == 0 or trainer.finished):
                    record.checkpoint()
                if interrupt.asked and not trainer.finished:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            if record and trainer.whole:
                record.checkpoint()
            return False
    return True


def _with_files(result: Result, record: Record, data: Data) -> Result:
    """Write the final model, its scores and its pictures."""
    assert result.counts is not None
    model, folder, sample = result.model, record.folder, data.test[0]
    file = record.finish()
    write_table(folder / "evaluation.csv", result.counts)
    title = f"{data.title}: {sample.name}, held out, test Dice {metrics.headline(metrics.dice(result.counts)):.3f}"
    picture = folder / "preview.png"
    preview(picture, sample.image, sample.labels, probabilities(model, sample.image), title=title)
    return replace(result, model_file=file, preview=picture, image=_image_to_try(sample, folder))


def _image_to_try(sample: Sample, output: Path) -> Path | None:
    """The file of a test image; of the embedded and drawn ones, which have none, a copy is written."""
    channels = sample.image.shape[2]
    if sample.path or sample.image.dtype != np.uint8 or channels not in (1, 3):
        return sample.path
    path = output / "test_image.png"
    write(path, png(sample.image[:, :, 0] if channels == 1 else sample.image))
    return path
