"""How well predicted labels agree with the truth: confusion counts, Dice, intersection over union, and a baseline."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.namespace import host, namespace
from .device import hosted, together
from .tensor import Array


def confusion(prediction: Array, truth: Array, classes: int, *, void: int = 255) -> Array:
    """counts[t, p]: how many pixels of class t were predicted to be p. classes x classes, int64.

    Pixels whose truth is `void` are left out. Arrays of a GPU are counted there; the counts are a NumPy array. Raises
    ValueError for shapes that differ and labels not in 0..classes-1, TypeError for arrays of two devices.
    """
    together("confusion", prediction=prediction, truth=truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"confusion: prediction has shape {prediction.shape}, truth {truth.shape}; they must be equal")
    known = truth != void
    t, p = truth[known].astype(np.int64), prediction[known].astype(np.int64)
    for name, labels in (("prediction", p), ("truth", t)):
        if labels.size and (labels.min() < 0 or labels.max() >= classes):
            raise ValueError(f"confusion: {name} holds {labels.min()}..{labels.max()}; labels are 0..{classes - 1}")
    return host(namespace(t).bincount(t * classes + p, minlength=classes**2)).reshape(classes, classes)


def predicted(scores: Array) -> Array:
    """argmax over k of scores[n, k, i, j], the first of equals: of two classes by comparing, in a tenth of the time."""
    return (scores[:, 1] > scores[:, 0]).view(np.uint8) if scores.shape[1] == 2 else scores.argmax(1)


def dice(counts: Array) -> Array:
    """D[k] = 2 TP / (2 TP + FP + FN) of every class, from `confusion` counts; NaN where truth and prediction lack it.

    Dice 1945, "Measures of the amount of ecologic association between species"; also the F1 score.
    """
    return _ratio(2 * np.diag(counts), counts.sum(0) + counts.sum(1))


def iou(counts: Array) -> Array:
    """J[k] = TP / (TP + FP + FN) of every class, from `confusion` counts; NaN where truth and prediction lack it.

    Jaccard 1912, "The distribution of the flora in the alpine zone". J = D / (2 - D).
    """
    return _ratio(np.diag(counts), counts.sum(0) + counts.sum(1) - np.diag(counts))


def headline(per_class: Array) -> float:
    """One number of them: with two classes that of class 1, the foreground; with more the mean over those defined."""
    return float(per_class[1]) if len(per_class) == 2 else mean(per_class)


def mean(per_class: Array) -> float:
    """The mean over the classes that are there: those that truth and prediction lack are NaN and left out."""
    return float(np.nanmean(per_class)) if not np.isnan(per_class).all() else float("nan")


class Threshold(NamedTuple):
    """Foreground is `intensity >= value` (above) or `intensity <= value` (not above); Dice and IoU of that."""

    value: float
    above: bool
    dice: float
    iou: float


def best_threshold(intensity: Array, truth: Array, *, void: int = 255) -> Threshold:
    """The one intensity threshold whose foreground agrees best (Dice) with truth 1, of all there are, either side.

    Every distinct intensity is tried, exactly, by cumulative counts. Chosen with the truth in hand, it is the best any
    thresholding method could do on these pixels: an upper bound, and so a baseline that flatters itself.
    Raises ValueError where shapes differ or no pixel is foreground, TypeError for CuPy arrays.
    """
    intensity, truth = hosted("best_threshold: intensity", intensity), hosted("best_threshold: truth", truth)
    if intensity.shape != truth.shape:
        raise ValueError(f"best_threshold: intensity has shape {intensity.shape}, truth {truth.shape}; must be equal")
    known = truth != void
    values, place = np.unique(intensity[known], return_inverse=True)
    foreground = truth[known] == 1
    if not foreground.any():
        raise ValueError("best_threshold: truth holds no foreground (class 1)")
    every = np.bincount(place, minlength=len(values))
    true = np.bincount(place[foreground], minlength=len(values))
    found = []
    for above in (True, False):
        order = slice(None, None, -1) if above else slice(None)
        hit, predicted = np.cumsum(true[order])[order], np.cumsum(every[order])[order]
        scores = 2 * hit / (predicted + true.sum())
        i = int(scores.argmax())
        found.append(
            Threshold(float(values[i]), above, float(scores[i]), float(hit[i] / (predicted[i] + true.sum() - hit[i])))
        )
    return max(found, key=lambda threshold: threshold.dice)


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
