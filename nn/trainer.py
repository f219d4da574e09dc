"""A training as it stands: the network, the optimiser, what was drawn and what was reached; and one step of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from ..kernels.namespace import namespace
from ..settings import Settings
from . import init, metrics, optim
from .data import VOID, Array, Data
from .device import home, moved
from .evaluation import evaluate
from .functional import centre, cross_entropy
from .loading import batches
from .module import Module
from .optimizer import Optimizer, clip_grad_norm_
from .schedules import learning_rate

EVALUATIONS = 8  # how many times during a training images are predicted, unless it is set

Batch = tuple[Array, Array, Mapping[str, Any]]  # images, labels, the state of the generator after they were drawn


class TrainingError(RuntimeError):
    """Training cannot go on; the message says what to try."""


@dataclass(frozen=True)
class Step:
    """What one training step gave, a row of metrics.csv. dice: of recent crops; validation_dice: of whole images."""

    step: int
    loss: float
    dice: float
    validation_dice: float | None
    learning_rate: float
    seconds: float


class Trainer:
    """A training after `done` steps. What it holds is all that the next step depends on."""

    def __init__(self, model: Module, data: Data, settings: Settings) -> None:
        """Before the first step; the weights are the model's."""
        self.model, self.data, self.settings = model, data, settings
        self.optimizer = optimizer(model, settings)
        self.device = home(model)
        self.weights = class_weights(data, settings, next(model.parameters()).dtype)
        self._weights_there = None if self.weights is None else moved(self.weights, self.device)
        self.every = settings.evaluate_every or max(settings.steps // EVALUATIONS, 1)
        self.done = 0
        self.whole = True  # False amid a step
        self.recent = np.zeros((data.classes, data.classes))  # counts over crops, old ones fading
        self.counts: Array | None = None  # of the images that are watched, where these weights have just predicted them
        self.best, self.waited = math.nan, 0  # the best Dice so far, and evaluations since
        self.best_state: dict[str, Array] | None = None
        self.random: Mapping[str, Any] = np.random.default_rng(
            (settings.seed, 1)
        ).bit_generator.state  # after the last batch used
        self.dropout = np.random.default_rng((settings.seed, 2))
        self.before, self._start = 0.0, perf_counter()  # seconds of the processes that this one goes on from

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self.before + perf_counter() - self._start

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or early stopping has come."""
        return self.done >= self.settings.steps or 0 < self.settings.early_stopping <= self.waited

    def batches(self) -> Iterator[Batch]:
        """What is yet to be drawn."""
        rng = np.random.default_rng()
        rng.bit_generator.state = self.random
        for images, labels in batches(self.data.train, self.settings, rng):
            yield images, labels, rng.bit_generator.state

    def step(self, drawn: Iterator[Batch]) -> Step:
        """One step, and where it is time an evaluation. Raises TrainingError where the loss is no number."""
        self.whole, self.counts, watched = False, None, None
        self.optimizer.lr = learning_rate(self.settings, self.done + 1)
        with init.drawing(self.dropout), np.errstate(over="ignore", invalid="ignore"):  # divergence is told in words
            loss = self._descend(drawn)
        self.done += 1
        if self.done % self.every == 0 or self.done == self.settings.steps:
            self.counts = evaluate(self.model, self.data.watched, self.data.classes)
            watched = metrics.headline(metrics.dice(self.counts))
            self._judge(watched)
        self.whole = True
        dice = metrics.headline(metrics.dice(self.recent))
        return Step(self.done, loss, dice, watched, self.optimizer.lr, round(self.seconds, 3))

    def check_weights(self) -> None:
        """Raise TrainingError unless every weight is a number."""
        if not all(namespace(parameter.data).isfinite(parameter.data).all() for parameter in self.model.parameters()):
            raise self._diverged(f"weights became infinite or NaN at step {self.done}")

    def _descend(self, drawn: Iterator[Batch]) -> float:
        """The mean loss of a step's batches, and the step down its gradient."""
        s, total = self.settings, 0.0
        counted = np.zeros_like(self.recent)
        self.model.train()
        self.optimizer.zero_grad()
        for _ in range(s.accumulate):
            images, labels, self.random = next(drawn)
            logits = self.model(moved(images, self.device))
            rows, columns = centre((1, *labels.shape), logits.shape[2:])[2:]
            labels = labels[:, rows, columns]
            if not self._teaches(labels):
                continue
            labels = moved(labels, self.device)
            loss = cross_entropy(logits, labels, ignore_index=VOID, weight=self._weights_there)
            loss.backward(None if s.accumulate == 1 else namespace(loss.data).full_like(loss.data, 1 / s.accumulate))
            total += loss.item() / s.accumulate  # here a GPU is waited for, with the way back already begun
            if not math.isfinite(total):
                raise self._diverged(f"the loss became {total} at step {self.done + 1}")
            counted += metrics.confusion(metrics.predicted(logits.data), labels, self.data.classes, void=VOID)
        if s.clip_grad_norm is not None:
            clip_grad_norm_(self.optimizer.params, s.clip_grad_norm)
        self.optimizer.step()
        self.recent = 0.9 * self.recent + counted
        return total

    def _teaches(self, labels: Array) -> bool:
        """Whether any pixel counts in the loss: a mean over none would be NaN."""
        known = labels[labels != VOID]
        return bool(known.size if self.weights is None else self.weights[known].any())

    def _judge(self, dice: float) -> None:
        if dice > self.best or (math.isnan(self.best) and not math.isnan(dice)):
            self.best, self.waited, self.best_state = dice, 0, self.model.state_dict()
        else:
            self.waited += 1

    def _diverged(self, what: str) -> TrainingError:
        lr = self.settings.lr
        return TrainingError(
            f"{what}: the weights have diverged; try a smaller learning rate, lr {lr / 10:.1g} (it is {lr:g}),"
            " or clip_grad_norm 1"
        )


def optimizer(model: Module, settings: Settings) -> Optimizer:
    """The optimiser that the settings name, of all parameters."""
    s, params = settings, model.parameters()
    common = {"lr": s.lr, "weight_decay": s.weight_decay}
    if s.optimizer == "sgd":
        return optim.SGD(params, momentum=s.momentum, nesterov=s.nesterov, **common)
    if s.optimizer == "adagrad":
        return optim.Adagrad(params, **common)
    if s.optimizer == "rmsprop":
        return optim.RMSprop(params, momentum=s.momentum, **common)
    return {"adam": optim.Adam, "adamw": optim.AdamW}[s.optimizer](params, betas=s.betas, **common)


def class_weights(data: Data, settings: Settings, dtype: np.dtype) -> Array | None:
    """The weight of each class in the loss. balanced: w[k] = n / (K n[k]), n[k] of the n training pixels being of k.

    Classes without any pixel have weight 0. King & Zeng 2001, "Logistic regression in rare events data".
    """
    if not isinstance(settings.class_weights, str):
        return None if settings.class_weights is None else np.array(settings.class_weights, dtype)
    pixels = np.bincount(np.concatenate([sample.labels.ravel() for sample in data.train]), minlength=VOID + 1)
    pixels = pixels[: data.classes]
    return np.where(pixels > 0, pixels.sum() / (data.classes * np.maximum(pixels, 1)), 0).astype(dtype)
