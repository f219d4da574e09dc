"""The checkerboard that a transposed convolution paints, seen, explained and cured.

Where the kernel is no multiple of the stride, output pixels are reached by different numbers of taps: `overlap_counts`
says how many. Two cures: a kernel that is a multiple of the stride, and resizing before an ordinary convolution.
Three networks enlarge pictures of nuclei four times; only their two upsamplings differ. Before training many of them
see a flat grey: how much stronger, in the root mean square, is the strongest of the 4 x 4 places than the weakest?
After short and long training on three quadrants: which share of the squared error on the fourth is in the means of the
4 x 4 places, and so a pattern? Beside the networks stands bilinear interpolation.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _loop import minimise, outputs, save
from _recipe import options, table

from upconv import kernels, nn
from upconv.nn.preview import blank

UPSAMPLINGS: dict[str, Callable[..., nn.Module]] = {
    "transposed, 3x3": lambda first, last, rng: nn.ConvTranspose2d(first, last, 3, 2, 1, 1, rng=rng),
    "transposed, 4x4": lambda first, last, rng: nn.ConvTranspose2d(first, last, 4, 2, 1, rng=rng),
    "resized, then 3x3": lambda first, last, rng: nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(first, last, 3, padding=1, rng=rng)
    ),
}
WIDTH = 16


def network(name: str, seed: int) -> nn.Module:
    """1 x H x W -> 1 x 4 H x 4 W."""
    rng, up = np.random.default_rng(seed), UPSAMPLINGS[name]
    first = nn.Conv2d(1, WIDTH, 3, padding=1, rng=rng)
    return nn.Sequential(first, nn.ReLU(), up(WIDTH, WIDTH, rng), nn.ReLU(), up(WIDTH, 1, rng))


def places(image: np.ndarray) -> np.ndarray:
    """The mean of the pixels at each of the 4 x 4 places, away from the border. N 1 H W -> 4 4."""
    inner = image[..., 16:-16, 16:-16]
    return inner.reshape(-1, inner.shape[-2] // 4, 4, inner.shape[-1] // 4, 4).mean((0, 1, 3))


def pattern(error: np.ndarray) -> float:
    """The variance of the means of the 4 x 4 places, as a share of the mean square. 0: no checkerboard."""
    return float(places(error).var() / places(error**2).mean())


def untrained(name: str, count: int) -> np.ndarray:
    """The root mean square at each of the 4 x 4 places over so many networks that see a flat grey."""
    grey = np.ones((1, 1, 16, 16), np.float32)
    return np.sqrt(np.mean([places(outputs(network(name, seed), grey) ** 2) for seed in range(count)], 0))


def psnr(error: np.ndarray) -> float:
    """10 log10(1 / mean squared error), in dB, of images from 0 to 1."""
    return float(-10 * np.log10(np.mean(error**2)))


def enlarge(name: str, small: np.ndarray, large: np.ndarray, given: Namespace, steps: int, seed: int) -> np.ndarray:
    """The last of the small images, enlarged by a network that was trained on crops of the others."""
    model, rng = network(name, seed), np.random.default_rng(seed)
    side, batch = (8, 1) if given.quick else (24, 8)
    last = small.shape[2] - side + 1

    def loss() -> nn.Tensor:
        x, y = [], []
        for n, i, j in zip(rng.integers(0, len(small) - 1, batch), *rng.integers(0, last, (2, batch)), strict=True):
            x.append(small[n, :, i : i + side, j : j + side])
            y.append(large[n, :, 4 * i : 4 * (i + side), 4 * j : 4 * (j + side)])
        return nn.mse_loss(model(np.stack(x)), np.stack(y))

    minimise(model, loss, steps, lr=3e-3, text=f"{name}, {steps} steps, seed {seed}")
    return outputs(model, small[-1:])


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Count overlaps, train each network with every seed, print the means over the seeds, draw."""
    given = options("checkerboard", __doc__, arguments, short=300, steps=1500, seeds=3, networks=400)
    counts = {k: kernels.overlap_counts(6, k, stride=2, padding=1, output_padding=4 - k) for k in (3, 4)}
    print(f"taps that reach each pixel, stride 2, kernel 3x3\n{counts[3]}\nkernel 4x4\n{counts[4]}")
    data = nn.nuclei()
    pictures = [sample.image.transpose(2, 0, 1) for sample in (*data.train, *data.test)]
    large = np.divide(pictures, np.max(pictures), dtype=np.float32)
    small = kernels.avg_pool2d(large, 4)
    truth, bilinear = large[-1:], kernels.interpolate(small[-1:], scale_factor=4, mode="bilinear")

    head = ["strongest to weakest, untrained"]
    head += [f"{what}, {steps} steps" for steps in (given.short, given.steps) for what in ("pattern, %", "PSNR, dB")]
    scores = [100 * pattern(bilinear - truth), psnr(bilinear - truth)]
    numbers, shown = {"bilinear interpolation": [1.0, *scores, *scores]}, {"bilinear": [bilinear, bilinear]}
    for name in UPSAMPLINGS:
        strength = untrained(name, given.networks)
        numbers[name] = [float(strength.max() / strength.min())]
        shown[name] = []
        for steps in (given.short, given.steps):
            found = [enlarge(name, small, large, given, steps, given.seed + k) for k in range(given.seeds)]
            numbers[name].append(100 * float(np.mean([pattern(image - truth) for image in found])))
            numbers[name].append(float(np.mean([psnr(image - truth) for image in found])))
            shown[name].append(found[0])
    table(["upsampling", *head], [[name, *row] for name, row in numbers.items()])
    draw(given.output / "checkerboard.png", counts, shown, (given.short, given.steps))
    return {f"{name}: {what}": value for name, row in numbers.items() for what, value in zip(head, row, strict=True)}


def draw(path: Path, counts: dict[int, np.ndarray], shown: dict[str, list[np.ndarray]], steps: tuple[int, int]) -> None:
    """Left the counts; then a part of the enlargements, after short training above, after long training below."""
    figure = blank(11.5, 4.7, "")
    axes = figure.subplots(2, 5)
    for ax, (k, count) in zip(axes[:, 0], counts.items(), strict=True):
        ax.imshow(count, cmap="gray", vmin=0, vmax=4)
        ax.set_title(f"taps, {k}x{k} kernel", fontsize=10)
    for column, (name, images) in zip(axes[:, 1:].T, shown.items(), strict=True):
        for ax, image, trained in zip(column, images, steps, strict=True):
            ax.imshow(image[0, 0, 60:124, 60:124], cmap="gray", vmin=0.05, vmax=0.55, interpolation="nearest")
            ax.set_title(name if name == "bilinear" else f"{name}, {trained} steps", fontsize=10)
    for ax in axes.flat:
        ax.set_axis_off()
    save(figure, path)


if __name__ == "__main__":
    main()
