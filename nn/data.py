"""Labelled images for training: the embedded nuclei, how images are normalised, random crops that teach symmetry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

VOID = 255  # the label of pixels that count nowhere: not in the loss, not in Dice


def moments(image: Array) -> tuple[float, float]:
    """(mean, standard deviation) over all pixels and channels of an image, in float64."""
    return float(np.mean(image, dtype=np.float64)), float(np.std(image, dtype=np.float64))


def normalise(image: Array, statistics: tuple[float, float] | None = None) -> Array:
    """(image - mean) / std as float32, C x H x W, from H x W x C of any dtype. What networks are trained on and fed.

    The statistics are the image's own, over all its channels together so that colours keep their ratios; for a part of
    an image they are those of the whole, given. An image of one value only becomes zeros.
    """
    mean, std = moments(image) if statistics is None else statistics
    return ((image.transpose(2, 0, 1) - mean) / (std or 1.0)).astype(np.float32)


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
        """Measure the image once."""
        object.__setattr__(self, "statistics", moments(self.image))


@dataclass(frozen=True)
class Data:
    """What to train on and what to test on. title: one word for files and tables; description: a sentence."""

    title: str
    description: str
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    classes: int

    @property
    def channels(self) -> int:
        """How many channels every image has."""
        return self.train[0].image.shape[2]


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


def batches(
    samples: Sequence[Sample], *, batch: int, crop: int, rng: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """Without end (images, labels): batch x C x crop x crop float32 in channels-last memory, batch x crop x crop uint8.

    Each is a crop, uniform in place, of a uniformly drawn sample, turned by a random multiple of 90 degrees and
    mirrored half of the time: the eight symmetries of the square, equally likely.
    """
    channels = samples[0].image.shape[2]
    while True:
        images = np.empty((batch, crop, crop, channels), np.float32).transpose(0, 3, 1, 2)
        labels = np.empty((batch, crop, crop), np.uint8)
        for n in range(batch):
            sample = samples[int(rng.integers(len(samples)))]
            images[n], labels[n] = turned(*random_crop(sample, crop, rng), rng)
        yield images, labels


def random_crop(sample: Sample, crop: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(C x crop x crop normalised image, crop x crop labels) from a random place in the sample.

    Where the sample is smaller its image is reflected and the labels there are VOID. A crop that would hold VOID alone
    is moved onto a random pixel with a label.
    """
    room = [max(side - crop, 0) for side in sample.labels.shape]
    top, left = (int(rng.integers(r + 1)) for r in room)
    labels = sample.labels[top : top + crop, left : left + crop]
    if (labels == VOID).all():
        known = np.argwhere(sample.labels != VOID)
        centre = known[rng.integers(len(known))]
        top, left = (int(np.clip(c - crop // 2, 0, r)) for c, r in zip(centre, room, strict=True))
        labels = sample.labels[top : top + crop, left : left + crop]
    image = normalise(sample.image[top : top + crop, left : left + crop], sample.statistics)
    missing = [(0, crop - side) for side in labels.shape]
    if any(after for _, after in missing):
        image = np.pad(image, [(0, 0), *missing], mode="reflect")
        labels = np.pad(labels, missing, constant_values=VOID)
    return image, labels


def turned(image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """C x H x W image and H x W labels, both under the same random one of the square's eight symmetries."""
    quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))
    image, labels = np.rot90(image, quarter, axes=(-2, -1)), np.rot90(labels, quarter)
    return (image[..., ::-1], labels[..., ::-1]) if mirror else (image, labels)
