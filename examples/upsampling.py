"""Five upsamplings in one network: nearest, bilinear, transposed convolution, unpooling by indices, fixed unpooling.

Encoder, decoder, their first weights, the crops and the steps are the same; only what doubles the maps differs. There
are no skip connections: where things were has to come back through it. Scored on drawn scenes by the mean IoU, over all
pixels and over those within two pixels of an outline, where upsamplings differ. Beside them stands the class that is
most frequent, everywhere.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from _recipe import constant, mean_iou, options, pictures, spread, table, train

from upconv import kernels, nn

REACH = 2  # pixels from an outline


def started_bilinear(channels: int) -> nn.Module:
    """A transposed convolution that doubles each map with a filter of its own, at first the bilinear one."""
    layer = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, groups=channels, bias=False, rng=0)
    layer.weight.data[...] = kernels.bilinear_kernel(2)
    return layer


UPSAMPLINGS = {
    "nearest": lambda channels: nn.Upsample(scale_factor=2),
    "bilinear": lambda channels: nn.Upsample(scale_factor=2, mode="bilinear"),
    "transposed, from bilinear": started_bilinear,
    "unpooling by indices": lambda channels: nn.MaxUnpool2d(2),
    "fixed unpooling": lambda channels: nn.Unpool2d(2),
}


def convolutions(first: int, last: int, count: int, rng: np.random.Generator) -> nn.Module:
    """`count` 3x3 convolutions from `first` channels to `last`, batch normalisation and ReLU after each."""
    layers: list[nn.Module] = []
    for channels in [first] + [last] * (count - 1):
        layers += [nn.Conv2d(channels, last, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(last), nn.ReLU()]
    return nn.Sequential(*layers)


class Network(nn.Module):
    """Three times down to half the size, three times up; 3 channels in, a score for each class out."""

    def __init__(self, upsampling: str, classes: int, width: int, seed: int) -> None:
        """The weights that all have in common are the same for the same seed."""
        rng, widths = np.random.default_rng(seed), [width, 2 * width, 4 * width]
        self.down = nn.ModuleList(convolutions(a, b, 2, rng) for a, b in pairwise([3, *widths]))
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.up = nn.ModuleList(UPSAMPLINGS[upsampling](channels) for channels in reversed(widths))
        self.dec = nn.ModuleList(convolutions(b, a, 1, rng) for a, b in reversed([*pairwise([width, *widths])]))
        self.head = nn.Conv2d(width, classes, 1, rng=rng)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """N x 3 x H x W -> N x classes x H x W, H and W multiples of 8."""
        remembered = []
        for stage in self.down:
            x, indices = self.pool(stage(x))
            remembered.append(indices)
        for up, stage in zip(self.up, self.dec, strict=True):
            indices = remembered.pop()
            x = stage(up(x, indices) if isinstance(up, nn.MaxUnpool2d) else up(x))
        return self.head(x)


def near_outlines(labels: np.ndarray) -> np.ndarray:
    """Whether another class is at most REACH pixels away, in rows and columns."""
    x = labels[None, None].astype(np.float32)
    largest = partial(kernels.max_pool2d, kernel_size=2 * REACH + 1, stride=1, padding=REACH)
    return (largest(x) != -largest(-x))[0, 0]


def scores(predictions: list[np.ndarray], data: nn.Data) -> tuple[float, float]:
    """Mean IoU over all pixels of the test images, and over those near outlines."""
    labels = [sample.labels for sample in data.test]
    near = [np.where(near_outlines(each), each, 255) for each in labels]
    return mean_iou(predictions, labels, data.classes), mean_iou(predictions, near, data.classes)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train each with every seed, print means and ranges over the seeds, draw one scene under each."""
    given = options("upsampling", __doc__, arguments, steps=200, seeds=3)
    size, width, count = (32, 4, 8) if given.quick else (64, 16, 160)
    data = nn.scenes(count, size=size, classes=5, border=0, validation=0.25, seed=given.seed)
    results: dict[str, float] = {}
    rows: list[list[Any]] = []
    shown = {"image": data.test[0].image, "truth": data.test[0].labels}
    for name in UPSAMPLINGS:
        found = []
        for seed in range(given.seed, given.seed + given.seeds):
            print(f"{name}, seed {seed}", flush=True)
            model = Network(name, data.classes, width, seed)
            settings = {"batch": 8, "crop": size, "lr": 5e-3, "schedule": "one_cycle", "evaluate_every": given.steps}
            train(model, data, steps=given.steps, seed=seed, **settings)
            predictions = [nn.predict(model, sample.image) for sample in data.test]
            found.append(scores(predictions, data))
        shown[name] = predictions[0]
        columns = np.transpose(found)
        results |= dict(zip((name, f"{name}, near outlines"), columns.mean(1).tolist(), strict=True))
        rows.append([name, *map(spread, columns)])
    rows.append(["the most frequent class", *scores(constant(data), data)])
    table(["upsampling", "mean IoU", f"within {REACH} pixels of outlines"], rows)
    pictures(given.output / "upsampling.png", [shown])
    return results


if __name__ == "__main__":
    main()
