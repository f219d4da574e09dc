"""Learning rates over a training: each a factor f(t) of the peak rate at step t = 1, 2, ... of `steps`.

A factor depends on the step alone, so that a training that is resumed goes on as if it had not stopped.

>>> from upconv.nn import schedules
>>> [round(schedules.cosine(t, steps=4), 3) for t in (1, 2, 3, 4)]
[1.0, 0.854, 0.5, 0.146]
"""

from __future__ import annotations

import math

from ..settings import Settings


def cosine(t: int, steps: int) -> float:
    """f = (1 + cos(pi (t - 1) / steps)) / 2. As `torch.optim.lr_scheduler.CosineAnnealingLR`.

    Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation 5, without restarts.
    """
    return (1 + math.cos(math.pi * (t - 1) / steps)) / 2


def polynomial(t: int, steps: int, power: float = 0.9) -> float:
    """f = (1 - (t - 1) / steps)^power. As `torch.optim.lr_scheduler.PolynomialLR`.

    power: 0.9 is that of Chen et al. 2018, "DeepLab", section 4.1.
    """
    return (1 - (t - 1) / steps) ** power


def step(t: int, step_size: int, gamma: float = 0.1) -> float:
    """f = gamma^floor((t - 1) / step_size). As `torch.optim.lr_scheduler.StepLR`."""
    return gamma ** ((t - 1) // step_size)


def one_cycle(t: int, steps: int, rise: float = 0.3, start: float = 1 / 25, end: float = 1 / 25e4) -> float:
    """f along half a cosine from `start` to 1 over the first `rise` of the steps, along another to `end` at the last.

    As `torch.optim.lr_scheduler.OneCycleLR`, whose defaults these are; the momentum stays. Smith & Topin 2018,
    "Super-convergence: very fast training of neural networks using large learning rates".
    """
    peak, last, done = rise * steps - 1, steps - 1, t - 1
    low, part = (start, 1 - done / peak) if done < peak else (end, (done - peak) / (last - peak) if last > peak else 0)
    return low + (1 - low) * (1 + math.cos(math.pi * part)) / 2


def learning_rate(settings: Settings, t: int) -> float:
    """lr min(t / warmup, f(t)) at step t = 1..steps, f being the schedule's factor. one_cycle has a rise of its own.

    warmup None: 20 steps, in short trainings steps / 10.
    """
    s = settings
    factor = {
        "constant": lambda: 1.0,
        "cosine": lambda: cosine(t, s.steps),
        "one_cycle": lambda: one_cycle(t, s.steps),
        "polynomial": lambda: polynomial(t, s.steps, s.power),
        "step": lambda: step(t, s.step_size or max(s.steps // 3, 1), s.gamma),
    }[s.schedule]()
    warmup = min(20, max(s.steps // 10, 1)) if s.warmup is None else s.warmup
    if s.schedule == "one_cycle" or not warmup:
        return s.lr * factor
    return s.lr * min(t / warmup, factor)
