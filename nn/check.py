"""Do a model and data fit together? Asked before anything is trained."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..settings import Settings
from .data import VOID, Data, Sample
from .device import home, moved
from .inference import predict
from .modes import no_grad
from .module import Module
from .sight import sight


def check(model: Module, data: Data, settings: Settings) -> None:
    """Raise InputError with a sentence for everything that keeps this model from being trained on these data."""
    problems = []
    for part in ("train", "test"):
        if not getattr(data, part):
            raise InputError(f"data: there is no image for {part}")
    for sample in (*data.train, *data.validation, *data.test):
        known = sample.labels[sample.labels != VOID]
        if sample.image.ndim != 3 or sample.image.shape[:2] != sample.labels.shape:
            problems.append(f"{sample.name}: its image is {sample.image.shape}, its labels {sample.labels.shape}")
        elif sample.image.shape[2] != data.channels:
            problems.append(f"{sample.name}: it has {sample.image.shape[2]} channels, the first {data.channels}")
        elif known.size and known.max() >= data.classes:
            problems.append(f"{sample.name}: its labels go to {known.max()}; there are {data.classes} classes")
    weights = settings.class_weights
    if isinstance(weights, tuple) and len(weights) != data.classes:
        problems.append(f"class_weights are {len(weights)} numbers; there are {data.classes} classes")
    if not problems:
        problems += _trial(model, data, settings.crop) or _whole(model, data.watched[0])
    if problems:
        raise InputError(problems)


def _trial(model: Module, data: Data, crop: int) -> list[str]:
    """What is wrong with the scores of one crop."""
    blank = np.zeros((1, data.channels, crop, crop), next(model.parameters()).dtype)
    model.eval()
    try:
        with no_grad():
            shape = model(moved(blank, home(model))).shape
    except ValueError as error:
        return [f"crop is {crop}, with {data.channels} channels, which the model does not take: {error}"]
    if len(shape) != 4 or shape[1] != data.classes or max(shape[2:]) > crop:
        needed = f"1 x {data.classes} x {crop} x {crop}, or less of the middle,"
        return [f"the model's scores are {' x '.join(map(str, shape))}; {needed} is needed for {data.classes} classes"]
    return []


def _whole(model: Module, sample: Sample) -> list[str]:
    """What keeps the model from predicting a whole image. Where a score sees a window, looking at that is enough."""
    try:
        if not sight(model, sample.image.shape[2]).bounded:
            predict(model, sample.image)
    except ValueError as error:
        return [f"{sample.name}: the model cannot predict it as a whole: {error}"]
    return []
