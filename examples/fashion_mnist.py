"""LeNet learns what is on a picture, and its filters and feature maps are looked at.

The pictures are Fashion-MNIST if the environment variable UPCONV_FASHION_MNIST names the folder of its four IDX files,
and otherwise scikit-learn's written digits, enlarged to 28 x 28 pixels. Beside LeNet stand the class that is most
frequent, and the class whose mean training image is nearest.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _loop import minimise, outputs, save
from _recipe import options, table

from upconv import kernels, nn
from upconv.nn.datasets import FOLDER, Classified
from upconv.nn.preview import blank

CLOTHES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


def pictures() -> tuple[Classified, tuple[str, ...]]:
    """28 x 28 pictures and the names of their classes."""
    if os.environ.get(FOLDER):
        return nn.fashion_mnist(), CLOTHES
    print(f"{FOLDER} names no folder of Fashion-MNIST: these are scikit-learn's digits instead.")
    data = nn.digits()
    parts = data.train_images, data.test_images
    x, test = (kernels.interpolate(images, size=28, mode="bilinear") for images in parts)
    return replace(data, train_images=x, test_images=test), tuple(map(str, range(10)))


def nearest_mean(data: Classified) -> np.ndarray:
    """The class whose mean image is nearest, of each test image."""
    means = np.stack([data.train_images[data.train_labels == k].mean(0).ravel() for k in np.unique(data.train_labels)])
    distances = (means**2).sum(1) - 2 * data.test_images.reshape(len(data.test_images), -1) @ means.T
    return np.unique(data.train_labels)[distances.argmin(1)]


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train, print the accuracies, draw filters and feature maps."""
    given = options("fashion_mnist", __doc__, arguments, steps=1500)
    data, names = pictures()
    rng = np.random.default_rng(given.seed)
    model = nn.LeNet(padding=2, rng=rng)

    def loss() -> nn.Tensor:
        batch = rng.integers(0, len(data.train_labels), 64)
        return nn.cross_entropy(model(data.train_images[batch]), data.train_labels[batch])

    minimise(model, loss, given.steps, lr=2e-3, text=f"LeNet, {len(data.train_labels)} images")
    truth, predicted = data.test_labels, outputs(model, data.test_images).argmax(1)
    results = {
        "LeNet": float((predicted == truth).mean()),
        "nearest mean image": float((nearest_mean(data) == truth).mean()),
        "most frequent class": float((np.bincount(data.train_labels).argmax() == truth).mean()),
    }
    table(["", "accuracy"], [*results.items()])
    per_class = {names[k]: float((predicted == truth)[truth == k].mean()) for k in np.unique(truth)}
    table(["LeNet, of each class", "accuracy"], [*per_class.items()])
    draw(given.output / "fashion_mnist.png", model, data.test_images[:1])
    return results


def draw(path: Path, model: nn.LeNet, image: np.ndarray) -> None:
    """The six filters of the first layer; what they, and the second layer's sixteen, make of one image."""
    with nn.no_grad():
        first = model.features[1](model.features[0](image))
        second = model.features[4](model.features[3](model.features[2](first)))
    figure = blank(11, 5.2, "")
    rows = {"image": image[0], "filters": model.features[0].weight.data[:, 0], "their maps": first.data[0]}
    upper, lower = figure.subfigures(2, 1, height_ratios=[2, 1.6])
    for line, name in zip(upper.subfigures(1, 3, width_ratios=[1, 2, 2]), rows, strict=True):
        shape = (1, 1) if name == "image" else (2, 3)
        mosaic(line, rows[name], shape, name)
    mosaic(lower, second.data[0], (2, 8), "the second layer's maps")
    save(figure, path)


def mosaic(figure: Any, maps: np.ndarray, shape: tuple[int, int], title: str) -> None:
    """Maps side by side, grey 0 where they have two signs."""
    figure.suptitle(title, fontsize=10)
    limit = abs(maps).max()
    for ax, each in zip(figure.subplots(*shape, squeeze=False).flat, maps, strict=True):
        ax.imshow(each, cmap="gray" if maps.min() >= 0 else "RdBu", vmin=min(0, maps.min() and -limit), vmax=limit)
        ax.set_axis_off()


if __name__ == "__main__":
    main()
