"""What a network makes of whole images: counts over all of them, per class, and beside a threshold."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import metrics
from .data import VOID, Array, Sample
from .files import Pathlike, write
from .inference import predict
from .module import Module


def evaluate(model: Module, samples: Iterable[Sample], classes: int) -> Array:
    """The `metrics.confusion` counts over all pixels of these images together; VOID ones count nowhere."""
    counts = np.zeros((classes, classes), np.int64)
    for sample in samples:
        counts += metrics.confusion(predict(model, sample.image), sample.labels, classes, void=VOID)
    return counts


def write_table(path: Pathlike, counts: Array) -> None:
    """A CSV with a row for each class: pixels of it, Dice, IoU; then their mean.

    A class that neither the truth nor the prediction has is absent: its cells are empty, and the mean leaves it out.
    One that only the prediction has scores 0.
    """
    dice, iou = metrics.dice(counts), metrics.iou(counts)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["class", "pixels", "dice", "iou"])
    for k, pixels in enumerate(counts.sum(1).tolist()):
        rows.writerow([k, pixels, _cell(dice[k]), _cell(iou[k])])
    rows.writerow(["mean", int(counts.sum()), _cell(metrics.mean(dice)), _cell(metrics.mean(iou))])
    write(path, text.getvalue().encode())


def baseline(samples: Sequence[Sample], classes: int) -> metrics.Threshold | None:
    """`metrics.best_threshold` over these images together; None unless they are grey, with foreground as class 1."""
    labels = np.concatenate([sample.labels.ravel() for sample in samples])
    if classes != 2 or samples[0].image.shape[2] != 1 or not (labels == 1).any():
        return None
    return metrics.best_threshold(np.concatenate([sample.image.ravel() for sample in samples]), labels, void=VOID)


def _cell(value: Any) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"
