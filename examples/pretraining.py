"""Autoencoder pre-training: learn from all images without labels, throw the decoder away, go on with few labels.

Written digits, 8 x 8. A denoising autoencoder learns on all training images, without their labels. Its encoder and a
linear layer then learn from few labelled images: first the linear layer alone, then everything. Beside that stand the
same network from random weights and, with no network at all, the label of the nearest labelled image. Accuracy
on the test images, mean over the seeds, each with its own labelled images, weights and autoencoder. At the end an
autoencoder with a bottleneck of two numbers lays the digits out in the plane.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _loop import minimise, outputs, save
from _recipe import bar, options, table

from upconv import nn
from upconv.nn.preview import blank

COUNTS = (10, 20, 50, 100, 200, 500)  # labelled images, as many of each digit
WAYS = ("random weights", "pre-trained, kept", "pre-trained, then all trained", "nearest image")
NOISE = 0.4  # standard deviation; images are from 0 to 1


def pretrained(images: np.ndarray, bottleneck: int, steps: int, seed: int) -> nn.Autoencoder:
    """An autoencoder that has learnt to give these images back, from the same with noise."""
    rng = np.random.default_rng(seed)
    model = nn.Autoencoder(size=8, bottleneck=bottleneck, width=32, depth=2, rng=rng)

    def loss() -> nn.Tensor:
        batch = images[rng.integers(0, len(images), 64)]
        return nn.mse_loss(model(batch + NOISE * rng.standard_normal(batch.shape, dtype=np.float32)), batch)

    minimise(model, loss, steps, lr=2e-3, text=f"autoencoder, bottleneck {bottleneck}, seed {seed}")
    return model


def chosen(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The places of `count` images, as many of each digit."""
    return np.concatenate([rng.choice(np.flatnonzero(labels == k), count // 10, replace=False) for k in range(10)])


def nearest(known: np.ndarray, labels: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The label of the known image (or code) nearest to each."""
    a, b = (x.reshape(len(x), -1) for x in (images, known))
    return labels[((a[:, None] - b) ** 2).sum(2).argmin(1)]


def predictions(start: nn.Autoencoder, x: np.ndarray, y: np.ndarray, test: np.ndarray, steps: int, seed: int) -> list:
    """The classes of the test images, learnt from images x with labels y in each of WAYS."""
    rng = np.random.default_rng((seed, 1))

    def network() -> nn.Sequential:
        encoder = nn.Autoencoder(**start.config, rng=rng).encoder
        return nn.Sequential(encoder, nn.Linear(start.bottleneck, 10, rng=rng))

    def trained(model: nn.Module, lr: float, steps: int = steps) -> np.ndarray:
        def loss() -> nn.Tensor:
            batch = rng.integers(0, len(x), 32)
            return nn.cross_entropy(model(x[batch]), y[batch])

        minimise(model, loss, steps, lr=lr)
        return outputs(model, test).argmax(1)

    found = [trained(network(), lr=1e-3, steps=2 * steps)]  # as many as both stages below
    model = network()
    model[0].load_state_dict(start.encoder.state_dict())
    model[0].freeze()
    found.append(trained(model, lr=1e-2))
    model[0].unfreeze()
    found.append(trained(model, lr=1e-3))
    return [*found, nearest(x, y, test)]


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train, print the accuracies, draw them and the plane."""
    given = options("pretraining", __doc__, arguments, pretraining=2000, steps=300, seeds=5)
    data = nn.digits()
    seeds = range(given.seed, given.seed + given.seeds)
    starts = {seed: pretrained(data.train_images, 32, given.pretraining, seed) for seed in seeds}
    accuracy = np.zeros((len(COUNTS), len(WAYS), len(seeds)))
    for number in bar(len(COUNTS) * len(seeds), "classifiers"):
        i, k = divmod(number, len(seeds))
        places = chosen(data.train_labels, COUNTS[i], np.random.default_rng(seeds[k]))
        x, y = data.train_images[places], data.train_labels[places]
        found = predictions(starts[seeds[k]], x, y, data.test_images, given.steps, seeds[k])
        accuracy[i, :, k] = np.mean(found == data.test_labels, axis=1)
    gain = accuracy[:, 2] - accuracy[:, 0]
    signs = [f"{g.mean():+.3f} ({g.min():+.3f} to {g.max():+.3f})" for g in gain]
    means = accuracy.mean(2).tolist()
    rows = [[count, *mean, sign] for count, mean, sign in zip(COUNTS, means, signs, strict=True)]
    table(["labels", *WAYS, "gain of pre-training (over the seeds)"], rows)
    names = [f"{way}, {count} labels" for count in COUNTS for way in WAYS]
    results = dict(zip(names, np.ravel(means).tolist(), strict=True))

    plane = pretrained(data.train_images, 2, given.pretraining, given.seed)
    parts = data.train_images, data.test_images
    codes = {
        "a bottleneck of two numbers": [outputs(plane.encode, images) for images in parts],
        "two principal components": components(*parts),
    }
    for name, (known, new) in codes.items():
        results[name] = float((nearest(known, data.train_labels, new) == data.test_labels).mean())
        print(f"nearest training image in {name}: {results[name]:.3f} right")
    (_, laid_out), _ = codes.values()
    draw(given.output / "pretraining.png", accuracy, laid_out, data.test_labels)
    return results


def components(train: np.ndarray, test: np.ndarray) -> list[np.ndarray]:
    """The first two principal components of the training images, and of the test images along the same axes."""
    mean = train.reshape(len(train), -1).mean(0)
    axes = np.linalg.svd(train.reshape(len(train), -1) - mean, full_matrices=False)[2][:2]
    return [(images.reshape(len(images), -1) - mean) @ axes.T for images in (train, test)]


def draw(path: Path, accuracy: np.ndarray, codes: np.ndarray, labels: np.ndarray) -> None:
    """Left the accuracies with their ranges, right where the test digits lie in the plane."""
    figure = blank(11, 4.6, "")
    left, right = figure.subplots(1, 2)
    for j, way in enumerate(WAYS):
        left.plot(COUNTS, accuracy[:, j].mean(1), marker="o", markersize=4, label=way)
        left.fill_between(COUNTS, accuracy[:, j].min(1), accuracy[:, j].max(1), alpha=0.12)
    left.set(xscale="log", xlabel="labelled images", ylabel="accuracy on the test images")
    left.set_xticks(COUNTS, [str(count) for count in COUNTS])
    left.legend(frameon=False)
    left.grid(alpha=0.25)
    for digit in range(10):
        x, y = codes[labels == digit].T
        right.scatter(x, y, s=12, color=f"C{digit}", label=str(digit))
    right.set_title("test digits in a bottleneck of two numbers", fontsize=10)
    right.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


if __name__ == "__main__":
    main()
