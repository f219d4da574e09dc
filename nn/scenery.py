"""Scenes that are drawn: shapes of several classes before a texture, for trying networks where there are no images."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable

import numpy as np

from ..errors import InputError
from ..settings import NATURAL, Rule
from .data import VOID, Array, Data, Sample, split, told

Distance = Callable[[Array, Array, float], Array]  # of pixels at (u, v) from the outline of a shape; negative inside
OBJECTS = 7  # beside each other, were they not partly hidden, on 64 x 64 pixels
NOISE = 6.0  # standard deviation, of 255


def _rectangle(u: Array, v: Array, size: float) -> Array:
    beside, above = abs(u) - size, abs(v) - 0.55 * size
    return np.hypot(np.maximum(beside, 0), np.maximum(above, 0)) + np.minimum(np.maximum(beside, above), 0)


def _disc(u: Array, v: Array, size: float) -> Array:
    return np.hypot(u, v) - 0.8 * size


def _ellipse(u: Array, v: Array, size: float) -> Array:
    a, b = 1.2 * size, 0.5 * size
    level = np.hypot(u / a, v / b)  # to first order: exact where it is 1, which is the outline
    return level * (level - 1) / np.maximum(np.hypot(u / a**2, v / b**2), 1e-9)


def _line(u: Array, v: Array, size: float) -> Array:
    half = 1.8 * size
    return np.hypot(u - np.clip(u, -half, half), v) - max(0.14 * size, 2.0)


def _triangle(u: Array, v: Array, size: float) -> Array:
    turns = (math.pi / 2, math.pi * 7 / 6, math.pi * 11 / 6)
    return np.max([math.cos(turn) * u + math.sin(turn) * v for turn in turns], axis=0) - 0.55 * size


def _ring(u: Array, v: Array, size: float) -> Array:
    return abs(np.hypot(u, v) - 0.8 * size) - 0.25 * size


SHAPES: tuple[Distance, ...] = (_rectangle, _disc, _ellipse, _line, _triangle, _ring)  # classes 1, 2, 3, ...


def scenes(
    count: int = 40,
    *,
    size: int = 96,
    classes: int = 5,
    border: int = 2,
    validation: float = 0.2,
    test: float | None = None,
    seed: int = 0,
) -> Data:
    """Drawn images with a class for every pixel: shapes, one before the other, on a textured background.

    Class 0 is the background, then come rectangles, discs, ellipses, lines, triangles and rings; `classes`, 2 to 7,
    says how many of these there are. Each class has its hue, which varies, as do place, size, direction, brightness and
    stripes; light falls from one side, and there is noise.

    count: how many images, size x size pixels, RGB in uint8. border: so many pixels, 0 to 4, along the outlines, half
    of them on either side, are void (255), as in PASCAL VOC; 0: none. validation, test: shares held out, as in
    `from_arrays`. The same seed gives the same images, and a larger count the same and more.
    Raises InputError with one sentence for everything that is wrong.

    >>> from upconv import nn
    >>> data = nn.scenes(10, size=32, classes=3)
    >>> len(data.train), len(data.test), data.classes, data.train[0].image.shape
    (8, 2, 3, (32, 32, 3))
    """
    most = len(SHAPES) + 1
    rules = {
        "count": (Rule(int, "2 or more", lambda value: value >= 2), count),
        "size": (Rule(int, "32 or more", lambda value: value >= 32), size),
        "classes": (Rule(int, f"2 to {most}", range(2, most + 1).__contains__), classes),
        "border": (Rule(int, "0 to 4", range(5).__contains__), border),
        "seed": (NATURAL, seed),
    }
    if found := [wrong for name, (rule, value) in rules.items() if (wrong := rule.problem(f"scenes: {name}", value))]:
        raise InputError(found)
    samples = [
        Sample(f"scene {i}", *scene(size, classes, border, np.random.default_rng((seed, i)))) for i in range(count)
    ]
    train, watched, last = split(samples, validation, test, seed)
    return Data("scenes", f"{count} drawn scenes: {told(train, watched, last)}", train, last, classes, watched)


def scene(size: int, classes: int, border: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(size x size x 3 image, size x size labels), drawn from the back to the front: see `scenes`."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    grey = 110 + 16 * _texture(y, x, rng)
    image = grey[..., None] * (1 + rng.normal(0, 0.06, 3))  # a tint
    labels = np.zeros((size, size), np.uint8)
    unit = size / 64
    for _ in range(rng.poisson(OBJECTS) + 1):
        label = int(rng.integers(1, classes))
        top, left = rng.uniform(0, size, 2)
        turn, extent = rng.uniform(0, 2 * math.pi), unit * rng.uniform(7, 15)
        u = math.cos(turn) * (x - left) + math.sin(turn) * (y - top)
        v = math.cos(turn) * (y - top) - math.sin(turn) * (x - left)
        distance = SHAPES[label - 1](u, v, extent)
        colour = _colour(label, rng) * _surface(u, v, extent, rng)[..., None]
        image += np.clip(0.5 - distance, 0, 1)[..., None] * (colour - image)  # pixels on the outline are mixed
        labels[distance < 0] = label
        labels[abs(distance) < border / 2] = VOID
    image *= _light(y, x, rng)[..., None]
    image += rng.normal(0, NOISE, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), labels


def _texture(y: Array, x: Array, rng: np.random.Generator) -> Array:
    """Plane waves of all lengths and directions, about 0."""
    total = np.zeros_like(y)
    for _ in range(16):
        length, turn, phase = 5 * 16 ** rng.uniform(), rng.uniform(0, math.pi), rng.uniform(0, 2 * math.pi)
        total += np.sin(2 * math.pi / length * (math.cos(turn) * x + math.sin(turn) * y) + phase)
    return total / math.sqrt(8)


def _colour(label: int, rng: np.random.Generator) -> Array:
    """RGB of an object of this class, 0..255."""
    hue = (label - 1) / len(SHAPES) + rng.normal(0, 0.02)
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.35, 0.75), rng.uniform(0.5, 0.95)))


def _surface(u: Array, v: Array, size: float, rng: np.random.Generator) -> Array:
    """Brightness over an object: shade from end to end, and for every second stripes, about 1."""
    shade = 1 + rng.uniform(-0.2, 0.2) * np.clip(u / size, -2, 2)
    if rng.integers(2):
        shade = shade + 0.12 * np.sin(2 * math.pi / rng.uniform(3, 8) * v)
    return shade


def _light(y: Array, x: Array, rng: np.random.Generator) -> Array:
    """Brightness over the image, from 0.65 to 1.1 in its corners and linear in between."""
    size = len(y) - 1
    corners = rng.uniform(0.65, 1.1, (2, 2))
    upper, lower = (row[0] + (row[1] - row[0]) * x / size for row in corners)
    return upper + (lower - upper) * y / size
