"""Small data, networks and settings for the tests of training."""

import numpy as np

from upconv import nn

QUICK = {"steps": 6, "crop": 16, "batch": 2, "lr": 5e-3}


def images(count=6, size=24, classes=2, channels=1, seed=0):
    """(images, labels): blocks of the classes, their colours and noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (count, size // 8, size // 8)).repeat(8, 1).repeat(8, 2)
    pixels = np.linspace(0, 1, classes)[labels][..., None] + rng.normal(0, 0.2, (*labels.shape, channels))
    return pixels.astype(np.float32), labels.astype(np.uint8)


def data(validation=None, **options):
    """`images` as data; with `validation`, that many of them are watched, and others are for the test."""
    shares = {"validation": 0.34} if validation is None else {"validation": validation / 6, "test": 1 / 6}
    return nn.from_arrays(*images(**options), **shares)


def model(**options):
    return nn.UNet(**{"in_channels": 1, "classes": 2, "width": 2, "depth": 1, "rng": 0} | options)


def same(a, b):
    """Whether two models have the same weights and buffers, bit for bit."""
    a, b = (each.state_dict() for each in (a, b))
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def rows(folder):
    """metrics.csv without the seconds."""
    return [line.rpartition(",")[0] for line in (folder / "metrics.csv").read_text().splitlines()]
