"""Convolutions on tensor cores: the six calls of a geometry, and the plans that serve them."""

from contextlib import contextmanager

import numpy as np
import pytest
from gpu_cases import placed
from kernel_cases import arranged, integers

from upconv.kernels.cuda import blocking
from upconv.kernels.cuda.blocking import TILES, Tile

ALGORITHMS = ("tf32", "fp32x3")
SMALL = Tile(32, 32, 32, 32, 4)  # a warp: many blocks on small maps


@contextmanager
def planned(*tiles, **constants):
    """Plans of these tiles and with other constants."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocking, "TILES", tiles or TILES)
        for name, value in constants.items():
            patch.setattr(blocking, name, value)
        blocking.plan.cache_clear()
        yield
    blocking.plan.cache_clear()


def sides(case, rng, activation=None, numbers=integers):
    """The six calls of a geometry: name, arguments, parameters and the terms of each sum."""
    shapes = case.x_shape, case.y_shape, case.weight_shape
    x, y, weight = (arranged(numbers(rng, shape).astype(np.float32), "channels_last") for shape in shapes)
    bias, up_bias = (numbers(rng, shape[1]).astype(np.float32) for shape in (case.y_shape, case.x_shape))
    taps = weight[0, 0].size
    forth, back = case.weight_shape[1] * taps, case.weight_shape[0] // case.groups * taps
    terms = forth + 1, back, y[:, 0].size, back + 1, forth, y[:, 0].size
    calls = case.sides(x, weight, y, bias, up_bias, activation)
    return [(*each, count) for each, count in zip(calls, terms, strict=True)]


def formatted(arguments, format):
    """Arrays in a memory format; shapes as they are."""
    return [arranged(each, format) if isinstance(each, np.ndarray) else each for each in arguments]


def on_device(gpu, arguments):
    """Arrays on the device in the same format."""
    return [placed(gpu, each) if isinstance(each, np.ndarray) else each for each in arguments]
