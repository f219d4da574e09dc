"""What is computed of an image, tile by tile, wherever it lies: in memory, or in the chunks of a Dask array."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.namespace import host
from .data import normalise
from .device import home, hosted, moved
from .functional import softmax
from .images import channels
from .layers import positive
from .module import Module
from .sight import Tiling, sight
from .tensor import Array

Place = tuple[slice, slice]


@dataclass(frozen=True)
class Plan:
    """An H x W x C image, its tiles along both axes, and how many classes there are."""

    image: Any
    rows: Tiling
    columns: Tiling
    classes: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows.length, self.columns.length


def is_lazy(image: Any) -> bool:
    """Whether this is a Dask array."""
    return hasattr(image, "__dask_graph__")


def planned(model: Module, image: Any, tile: int) -> Plan:
    """The image and its tiles. Raises what `probabilities` raises."""
    image = image if is_lazy(image) else hosted("predict: image", image)
    if image.dtype.kind not in "buif":
        raise TypeError(f"predict: image has dtype {image.dtype}; integers or floats are needed")
    image = image[:, :, None] if image.ndim == 2 else image
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"predict: image has shape {image.shape}; H x W or H x W x C is needed")
    if any(math.isnan(side) for side in image.shape):
        raise ValueError("predict: image has chunks of unknown sizes; its compute_chunk_sizes() finds them")
    given = image.shape[2]
    wanted = getattr(model, "in_channels", given)
    if given != wanted:
        raise ValueError(f"predict: the image has {channels(given)}; the model was built for {channels(wanted)}")
    tile = positive("predict: tile", tile)
    seen = sight(model, given)
    rows, columns = (seen.tiling(side, tile) for side in image.shape[:2])
    return Plan(image, rows, columns, seen.classes)


def computed(model: Module, part: Array, statistics: tuple[float, float], inside: Place) -> Array:
    """The probabilities of what is `inside` the scores of a part of an image."""
    dtype = next((each.dtype for each in model.parameters()), np.dtype(np.float32))
    x = moved(normalise(part, statistics)[None].astype(dtype, copy=False), home(model))
    scores = host(softmax(model(x)).data[0][(slice(None), *inside)].astype(np.float32, copy=False))
    wanted = tuple(each.stop - each.start for each in inside)
    if scores.shape[1:] != wanted:
        raise ValueError(f"predict: {type(model).__name__} gives {scores.shape[1:]} scores for {wanted} pixels")
    return scores


def finite(statistics: tuple[float, float]) -> tuple[float, float]:
    """An image's mean and deviation; ValueError where they are no numbers, since some pixel is none."""
    if not all(map(math.isfinite, statistics)):
        raise ValueError("predict: image holds NaN, infinite or too large values; every pixel must be finite")
    return statistics
