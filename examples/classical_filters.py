"""Mean, Gaussian, sharpening and edge filters are convolutions with given weights; the median is none.

One call of `conv2d` with groups filters each channel for itself with all of them. The results are those of SciPy. A
convolution of a sum is the sum of the convolutions; a median's is not, so no weights make it. On an image with salt and
pepper it does what no 5x5 convolution can: the best one there is, fitted to the clean image itself, stands beside it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _loop import save
from _recipe import options, table

from upconv import kernels, nn
from upconv._extras import require
from upconv.nn.preview import blank

ndimage = require("scipy.ndimage", extra="matrix")

GAUSS = np.exp(-(np.arange(-2, 3) ** 2) / 2)  # sigma 1
FILTERS = {
    "mean": np.full((5, 5), 1 / 25),
    "Gaussian": np.outer(GAUSS, GAUSS) / GAUSS.sum() ** 2,
    "sharpening": np.pad([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], 1),
    "edges, across": np.pad([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], 1),
    "edges, down": np.pad([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], 1),
    "Laplace": np.pad([[0, 1, 0], [1, -4, 1], [0, 1, 0]], 1),
}
SCIPY = {
    "mean": lambda x: ndimage.uniform_filter(x, 5),
    "Gaussian": lambda x: ndimage.gaussian_filter(x, 1, truncate=2),
    "sharpening": lambda x: x - ndimage.laplace(x),
    "edges, across": lambda x: ndimage.sobel(x, 1),
    "edges, down": lambda x: ndimage.sobel(x, 0),
    "Laplace": ndimage.laplace,
}


def filtered(images: np.ndarray) -> np.ndarray:
    """C x H x W -> C x filters x H x W. The border is mirrored, as SciPy does unless told otherwise."""
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)), mode="symmetric")
    bank = np.stack([*FILTERS.values()])[:, None].astype(images.dtype)
    y = kernels.conv2d(padded[None], np.tile(bank, (len(images), 1, 1, 1)), groups=len(images))
    return y.reshape(len(images), len(FILTERS), *images.shape[1:])


def lecture_example() -> np.ndarray:
    """The 3x3 mean of a 10x10 image with a bright square, a dark pixel in it and a bright one apart: 8x8."""
    image = np.zeros((1, 1, 10, 10))
    image[..., 2:7, 3:8] = 90
    image[..., 5, 4], image[..., 8, 2] = 0, 90
    return kernels.conv2d(image, np.full((1, 1, 3, 3), 1 / 9))[0, 0]


def best_convolution(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The 5x5 convolution of `noisy` that comes nearest to `clean`, by least squares."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(noisy, 2, mode="symmetric"), (5, 5)).reshape(-1, 25)
    return (windows @ np.linalg.lstsq(windows, clean.ravel(), rcond=None)[0]).reshape(clean.shape)


def median(image: np.ndarray) -> np.ndarray:
    """The middle of the 25 numbers around each pixel."""
    return ndimage.median_filter(image, 5)


def psnr(image: np.ndarray, clean: np.ndarray) -> float:
    """10 log10(1 / mean squared error), in dB, of images from 0 to 1."""
    return float(-10 * np.log10(np.mean((image - clean) ** 2)))


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Filter, compare with SciPy, print, draw."""
    given = options("classical_filters", __doc__, arguments)
    print(np.rint(lecture_example()).astype(int))
    picture = nn.nuclei().test[0].image[:, :, 0]
    clean = (picture / picture.max()).astype(np.float32)[: 64 if given.quick else None]
    chance = np.random.default_rng(given.seed).random(clean.shape)
    noisy = np.where(chance < 0.05, 0, np.where(chance > 0.95, 1, clean)).astype(np.float32)

    maps = filtered(np.stack([clean, noisy]))
    theirs = np.stack([filter(clean) for filter in SCIPY.values()])
    results = {"difference from SciPy": float(abs(maps[0] - theirs).max())}
    sums = dict(zip(FILTERS, abs(filtered((clean + noisy)[None])[0] - maps.sum(0)).max((1, 2)).tolist(), strict=True))
    sums["median"] = float(abs(median(clean + noisy) - median(clean) - median(noisy)).max())
    results |= {f"{name} of a sum, less the sum of both": value for name, value in sums.items()}
    table(["largest", "of images from 0 to 1"], [[name, f"{value:.1e}"] for name, value in results.items()])
    restored = {"as it is": noisy, "mean": maps[1, 0], "Gaussian": maps[1, 1]}
    restored |= {"best 5x5 convolution": best_convolution(noisy, clean), "median": median(noisy)}
    scores = {name: psnr(image, clean) for name, image in restored.items()}
    table(["10 % salt and pepper", "PSNR, dB"], [*scores.items()])
    results |= {f"{name}, PSNR": value for name, value in scores.items()}
    draw(given.output / "classical_filters.png", clean, noisy, maps, [median(clean), median(noisy)])
    return results


def draw(path: Path, clean: np.ndarray, noisy: np.ndarray, maps: np.ndarray, medians: list[np.ndarray]) -> None:
    """A row for the image, one for the same with noise: as it is, filtered, and its median."""
    figure = blank(10, 3.8, "")
    images = {"image": clean, "salt and pepper": noisy}
    for line, (what, image), row, middle in zip(figure.subplots(2, 6), images.items(), maps, medians, strict=True):
        panels = {what: image, **dict(zip(FILTERS, row, strict=True))}
        panels["edges"] = np.hypot(panels.pop("edges, across"), panels.pop("edges, down"))
        panels = {**panels, "median": middle}
        del panels["Laplace"]
        for ax, (name, panel) in zip(line, panels.items(), strict=True):
            ax.imshow(panel[:64, :64], cmap="gray", vmin=0, vmax=2 if name == "edges" else 0.8, interpolation="nearest")
            ax.set_title(name, fontsize=10)
            ax.set_axis_off()
    save(figure, path)


if __name__ == "__main__":
    main()
