"""A training at a glance: its curves, and what the network makes of images now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .data import Array
from .files import Pathlike, write
from .inference import predict
from .preview import as_png, blank, legend, panels
from .trainer import Step, Trainer

EXAMPLES = 3  # images that are predicted
POINTS = 2000  # of a curve that are drawn, at most
LOSS, CROPS, WATCHED, RATE = "#b04a3a", "#9a9a9a", "#2a6fbb", "#7a5ca8"


def progress(path: Pathlike, trainer: Trainer, history: Sequence[Step]) -> None:
    """Write a PNG, atomically: loss, Dice and learning rate over the steps, and below them images with predictions."""
    samples, classes = trainer.data.watched[:EXAMPLES], trainer.data.classes
    heights = [min(max(s.labels.shape[0] / s.labels.shape[1], 0.3), 1.5) for s in samples]
    title = f"{trainer.data.title}: step {trainer.done} of {trainer.settings.steps}"
    figure = blank(12, 3.6 + sum(0.5 + 3.7 * height for height in heights), title)
    above, *below = figure.subfigures(1 + len(samples), 1, height_ratios=[3.2, *(0.5 + 3.7 * h for h in heights)])
    _curves(above.subplots(1, 3), trainer, history)
    for part, sample in zip(below, samples, strict=True):
        axes = part.subplots(1, 3)
        prediction = predict(trainer.model, sample.image)
        panels(axes, sample.image, sample.labels, prediction, classes)
        axes[0].set_title(sample.name)
        legend(axes[2], sample.labels, prediction, classes)
    write(path, as_png(figure))


def _curves(axes: Any, trainer: Trainer, history: Sequence[Step]) -> None:
    shown = history[:: -(-len(history) // POINTS) or 1]
    steps = [step.step for step in shown]
    losses = np.array([step.loss for step in shown])
    axes[0].plot(steps, losses, color=LOSS, alpha=0.3, linewidth=1)
    axes[0].plot(steps, _smooth(losses), color=LOSS, label="loss, smoothed")
    if len(losses) and losses.min() > 0 and losses.max() > 10 * losses.min():
        axes[0].set_yscale("log")
    axes[1].plot(steps, [step.dice for step in shown], color=CROPS, label="crops")
    watched = [(step.step, step.validation_dice) for step in history if step.validation_dice is not None]
    watched = [(step, dice) for step, dice in watched if not math.isnan(dice)]
    style = {"color": WATCHED, "marker": "o", "markersize": 4, "label": f"{trainer.data.watched_as} images"}
    axes[1].plot([step for step, _ in watched], [dice for _, dice in watched], **style)
    if watched:
        best = max(watched, key=lambda place: place[1])
        axes[1].annotate(f"{best[1]:.3f}", best, (0, 6), textcoords="offset points", ha="center")
    axes[1].set_ylim(0, 1.08)
    axes[2].plot(steps, [step.learning_rate for step in shown], color=RATE)
    for ax, title in zip(axes, ("loss", "Dice", "learning rate"), strict=True):
        ax.set_title(title)
        ax.set_xlabel("step")
        ax.set_xlim(0, trainer.settings.steps)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=9)
    axes[1].legend(frameon=False, fontsize=9, loc="lower right")


def _smooth(values: Array) -> Array:
    """The mean of the values around each: a twentieth of all, at least 5, fewer at the ends."""
    half = max(len(values) // 40, 2)
    total = np.concatenate([[0.0], np.cumsum(values)])
    first, last = np.arange(len(values)) - half, np.arange(len(values)) + half + 1
    first, last = np.maximum(first, 0), np.minimum(last, len(values))
    return (total[last] - total[first]) / (last - first)
