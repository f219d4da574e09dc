"""Labelled images for training: arrays or the embedded nuclei, how they are split, checked and normalised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from zlib import crc32

import numpy as np

from ..errors import InputError
from ..settings import SHARE
from .tensor import Array

TOGETHER = 2**18  # numbers of an image that are measured together: what that takes of memory stays small
VOID = 255  # the label of pixels that count nowhere: not in the loss, not in Dice


def moments(image: Array) -> tuple[float, float]:
    """(mean, standard deviation) over all pixels and channels of an image, in float64, some rows at a time."""
    _, mean, variance = measured(image)
    return mean, math.sqrt(variance)


def measured(image: Array) -> tuple[float, float, float]:
    """(how many numbers, their mean, their variance)."""
    rows = max(TOGETHER // max(math.prod(image.shape[1:]), 1), 1)
    parts = [image[start : start + rows] for start in range(0, len(image), rows)]
    return pooled([(each.size, np.mean(each, dtype=np.float64), np.var(each, dtype=np.float64)) for each in parts])


def pooled(parts: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """What is `measured` of all parts together: m = sum of n_i m_i / n, v = sum of n_i (v_i + (m_i - m)^2) / n."""
    total, first = sum(count for count, _, _ in parts), float(parts[0][1])
    mean = first + math.fsum(count / total * (each - first) for count, each, _ in parts)
    return total, mean, math.fsum(count / total * (variance + (each - mean) ** 2) for count, each, variance in parts)


def normalise(image: Array, statistics: tuple[float, float] | None = None) -> Array:
    """(image - mean) / std as float32, C x H x W, from H x W x C of any dtype. What networks are trained on and fed.

    The statistics are the image's own, over all its channels together so that colours keep their ratios; for a part of
    an image they are those of the whole, given. An image of one value only becomes zeros.
    """
    mean, std = moments(image) if statistics is None else statistics
    x = image.transpose(2, 0, 1) - float(mean)
    x /= std or 1.0
    return x.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    image: H x W x C as in its file; labels: H x W uint8, 0..classes-1 or VOID; path: the file, if there is one.
    """

    name: str
    image: Array
    labels: Array
    path: Path | None = None
    statistics: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        """Measure the image once, and lay it out row by row."""
        object.__setattr__(self, "image", np.ascontiguousarray(self.image))
        object.__setattr__(self, "statistics", moments(self.image))


@dataclass(frozen=True)
class Data:
    """What to train on and what to test on. title: one word for files and tables; description: a sentence.

    validation: images that are watched while training and by which the best weights are chosen. Without any these are
    the test images, whose scores then flatter a choice that was made by them.
    """

    title: str
    description: str
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    classes: int
    validation: tuple[Sample, ...] = ()

    @property
    def channels(self) -> int:
        """How many channels every image has."""
        return self.train[0].image.shape[2]

    @property
    def watched(self) -> tuple[Sample, ...]:
        """The images that are predicted while training."""
        return self.validation or self.test

    @property
    def watched_as(self) -> str:
        """What these are."""
        return "validation" if self.validation else "test"

    def digest(self) -> str:
        """A checksum of all images and labels, their order and their use: the same only for the same data."""
        total = 0
        for part in (self.train, self.validation, self.test):
            total = crc32(repr(len(part)).encode(), total)
            for sample in part:
                for array in (sample.image, sample.labels):
                    total = crc32(repr((array.shape, array.dtype.str)).encode(), total)
                    total = crc32(np.ascontiguousarray(array).data, total)
        return f"{total:08x}"


def split(
    samples: Sequence[Sample], validation: float, test: float | None, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], tuple[Sample, ...]]:
    """(to train on, for validation, for the test): random shares, rounded, of at least one image each.

    test None: `validation` is the share for the test, and there are no others. Raises InputError for shares that are
    out of range, or leave nothing to train on.
    """
    shares = [validation] if test is None else [validation, test]
    names = ("the validation share", "the test share")
    found = [problem for name, share in zip(names, shares, strict=False) if (problem := SHARE.problem(name, share))]
    counts = [max(round(share * len(samples)), 1) for share in shares if not found]
    if len(shares) == 1 and len(samples) > 1 and counts:
        counts = [min(counts[0], len(samples) - 1)]
    if not found and sum(counts) >= len(samples):
        held = " and ".join(map(str, counts))
        found = [f"there are {len(samples)} images, of which {held} would be held out: there is none left to train on"]
    if found:
        raise InputError(found)
    order = np.random.default_rng(seed).permutation(len(samples)).tolist()
    first, second = counts[0], sum(counts)
    parts = order[second:], order[:first], order[first:second]
    train, held_out, last = (tuple(samples[i] for i in sorted(part)) for part in parts)
    return (train, (), held_out) if test is None else (train, held_out, last)


def told(train: Sequence[Sample], validation: Sequence[Sample], test: Sequence[Sample]) -> str:
    """How many images there are for what."""
    watched = f"{len(validation)} for validation, " * bool(validation)
    return f"{len(train)} images to train, {watched}{len(test)} for the test"


def nuclei(quadrant: int = 3) -> Data:
    """The embedded image of nuclei, 512 x 512, one `quadrant` held out for the test, the other three to train on.

    Quadrants 0 1 / 2 3 lie as in reading. Each is an image of its own, 256 x 256, normalised by its own pixels: nothing
    of the held-out one is seen in training. Class 1 is nucleus, whichever, and 0 background.
    Image: 2018 Data Science Bowl (BBBC038), Caicedo et al. 2019, by way of StarDist; see assets/NOTICE.md.
    """
    if quadrant not in range(4):
        raise ValueError(f"nuclei: quadrant is {quadrant!r}; 0, 1, 2 or 3 is needed")
    with files("upconv.nn.assets").joinpath("nuclei.npz").open("rb") as file, np.load(file) as arrays:
        samples = quadrants(arrays["image"], (arrays["instances"] > 0).astype(np.uint8))
    test = samples.pop(quadrant)
    height, width = test.labels.shape
    description = (
        f"nuclei under a fluorescence microscope (embedded; 2018 Data Science Bowl): quadrant {quadrant} for the test,"
        f" the other three to train, {height} x {width} pixels each"
    )
    return Data("nuclei", description, tuple(samples), (test,), 2)


def quadrants(image: Array, labels: Array) -> list[Sample]:
    """The four quarters, 0 1 / 2 3, of an H x W image and its labels."""
    height, width = labels.shape[0] // 2, labels.shape[1] // 2
    parts = [np.s_[top : top + height, left : left + width] for top in (0, height) for left in (0, width)]
    return [Sample(f"quadrant {i}", image[part][:, :, None], labels[part]) for i, part in enumerate(parts)]
