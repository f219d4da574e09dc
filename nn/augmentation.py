"""Crops of labelled images, varied at random: image and labels alike, and everything drawn from one generator."""

from __future__ import annotations

import math

import numpy as np

from .. import kernels
from ..settings import Settings
from .data import VOID, Array, Sample, normalise

GRID = 3  # of the elastic deformation: displacements are drawn at so many rows and columns


def augmented(sample: Sample, crop: int, settings: Settings, rng: np.random.Generator) -> tuple[Array, Array]:
    """(C x crop x crop normalised image, crop x crop labels) from a random place in the sample, varied by `settings`.

    In this order: turned by up to `rotate` degrees, zoomed by up to a factor of 1 + `scale` and bent (`elastic`), all
    in one interpolation; mirrored or turned by 90 degrees (`symmetry`); then of the image contrast and brightness
    (`intensity`) and `noise`. What is 0 draws nothing.
    """
    s = settings
    if s.rotate or s.scale or s.elastic:
        image, labels = deformed(sample, crop, s, rng)
    else:
        image, labels = random_crop(sample, crop, rng)
    if s.symmetry != "none":
        image, labels = turned(image, labels, rng, quarters=s.symmetry == "square")
    if s.intensity:
        contrast, brightness = rng.uniform(-s.intensity, s.intensity, 2)
        image = image * np.float32(1 + contrast) + np.float32(brightness)
    if s.noise:
        image = image + np.float32(s.noise) * rng.standard_normal(image.shape, np.float32)
    return image, labels


def random_crop(sample: Sample, crop: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(C x crop x crop normalised image, crop x crop labels) from a random place in the sample.

    Where the sample is smaller its image is reflected and the labels there are VOID. A crop that would hold VOID alone
    is moved onto a random pixel with a label.
    """
    return _cut(sample, crop, *_corner(sample, crop, rng))


def turned(image: Array, labels: Array, rng: np.random.Generator, *, quarters: bool = True) -> tuple[Array, Array]:
    """C x H x W image and H x W labels, both under the same random one of the square's eight symmetries.

    quarters=False: mirrored left to right, or not.
    """
    if quarters:
        quarter = int(rng.integers(4))
        image, labels = np.rot90(image, quarter, axes=(-2, -1)), np.rot90(labels, quarter)
    mirror = bool(rng.integers(2))
    return (image[..., ::-1], labels[..., ::-1]) if mirror else (image, labels)


def deformed(sample: Sample, crop: int, settings: Settings, rng: np.random.Generator) -> tuple[Array, Array]:
    """As `random_crop`, turned, zoomed and bent about the middle of the crop, as `displaced` says.

    The image is interpolated linearly, labels are those of the nearest pixel. A crop whose labels would then all be
    VOID stays as it was cut.
    """
    top, left = _corner(sample, crop, rng)
    rows, columns = displaced(crop, settings, rng)
    image, labels = _sampled(sample, rows + top, columns + left)
    return (image, labels) if (labels != VOID).any() else _cut(sample, crop, top, left)


def displaced(crop: int, settings: Settings, rng: np.random.Generator) -> tuple[Array, Array]:
    """(rows, columns) = R(a) (p - m) / z + m + D(p) of every pixel p of a crop with the middle m: where it comes from.

    a: uniform within `rotate` degrees; z: log-uniform in 1 / (1 + scale) .. 1 + scale; D: bicubic between 3 x 3 vectors
    drawn from N(0, elastic^2), in pixels (Ronneberger et al. 2015, section 3.1, with a standard deviation of 10).
    """
    angle = math.radians(settings.rotate) * rng.uniform(-1, 1)
    zoom = (1 + settings.scale) ** rng.uniform(-1, 1)
    middle = (crop - 1) / 2
    y, x = (np.mgrid[:crop, :crop] - middle) / zoom
    rows = math.cos(angle) * y - math.sin(angle) * x + middle
    columns = math.sin(angle) * y + math.cos(angle) * x + middle
    if settings.elastic:
        grid = rng.normal(0, settings.elastic, (1, 2, GRID, GRID))
        bend = kernels.interpolate(grid, size=(crop, crop), mode="bicubic", align_corners=True)[0]
        rows, columns = rows + bend[0], columns + bend[1]
    return rows, columns


def _corner(sample: Sample, crop: int, rng: np.random.Generator) -> tuple[int, int]:
    """The row and the column where a crop begins that holds a label."""
    room = [max(side - crop, 0) for side in sample.labels.shape]
    top, left = (int(rng.integers(r + 1)) for r in room)
    if (sample.labels[top : top + crop, left : left + crop] == VOID).all():
        known = np.argwhere(sample.labels != VOID)
        centre = known[rng.integers(len(known))]
        top, left = (int(np.clip(c - crop // 2, 0, r)) for c, r in zip(centre, room, strict=True))
    return top, left


def _cut(sample: Sample, crop: int, top: int, left: int) -> tuple[Array, Array]:
    labels = sample.labels[top : top + crop, left : left + crop]
    image = normalise(sample.image[top : top + crop, left : left + crop], sample.statistics)
    missing = [(0, crop - side) for side in labels.shape]
    if any(after for _, after in missing):
        image = np.pad(image, [(0, 0), *missing], mode="reflect")
        labels = np.pad(labels, missing, constant_values=VOID)
    return image, labels


def _sampled(sample: Sample, rows: Array, columns: Array) -> tuple[Array, Array]:
    """The normalised image between its pixels, and the labels; beyond the borders reflected, and VOID."""
    height, width = sample.labels.shape
    pixels, labels = sample.image.reshape(height * width, -1), sample.labels.ravel()
    above, before = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = ((rows - above)[..., None], (columns - before)[..., None])
    tops = (width * _reflected(above, height), width * _reflected(above + 1, height))
    lefts = (_reflected(before, width), _reflected(before + 1, width))

    def between(top: Array) -> Array:
        first, second = (pixels.take(top + left, axis=0).astype(np.float64) for left in lefts)
        return first + right * (second - first)

    upper, lower = map(between, tops)
    nearest = np.where(down[..., 0] < 0.5, *tops) + np.where(right[..., 0] < 0.5, *lefts)
    inside = (rows >= -0.5) & (rows < height - 0.5) & (columns >= -0.5) & (columns < width - 0.5)
    image = normalise(upper + down * (lower - upper), sample.statistics)
    return image, np.where(inside, labels.take(nearest), np.uint8(VOID))


def _reflected(places: Array, size: int) -> Array:
    """Places on an axis, mirrored at its first and last pixel until they are on it."""
    period = max(2 * (size - 1), 1)
    folded = places % period
    return np.minimum(folded, period - folded) if size > 1 else np.zeros_like(places)
