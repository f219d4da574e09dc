"""A denoising autoencoder: it sees written digits with noise and learns to give them back without.

Scored in PSNR on digits it has not seen, with the same noise for all, beside two filters that know more than usual:
the Gaussian filter with the sigma that is best for these very test images, and the best linear map there is from the
64 noisy pixels to the 64 clean ones (Wiener's), from the mean and covariance of the training images and the true noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _loop import minimise, outputs, save
from _recipe import options, table

from upconv import nn
from upconv._extras import require
from upconv.nn.preview import blank

ndimage = require("scipy.ndimage", extra="matrix")

NOISE = 0.4  # standard deviation; images are from 0 to 1


def psnr(images: np.ndarray, clean: np.ndarray) -> float:
    """10 log10(1 / mean squared error), in dB, of images cut to 0..1."""
    return float(-10 * np.log10(np.mean((np.clip(images, 0, 1) - clean) ** 2)))


def gaussian(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The Gaussian filter of the sigma, to 0.05 pixels, whose result is nearest to `clean`."""
    tried = [ndimage.gaussian_filter(noisy, (0, 0, sigma, sigma)) for sigma in np.arange(0.05, 2, 0.05)]
    return max(tried, key=lambda images: psnr(images, clean))


def wiener(noisy: np.ndarray, train: np.ndarray) -> np.ndarray:
    """m + C (C + s^2 I)^-1 (x - m), m and C being the mean and covariance of `train`, s that of the noise."""
    flat = train.reshape(len(train), -1).astype(np.float64)
    mean, covariance = flat.mean(0), np.cov(flat.T)
    gain = np.linalg.solve(covariance + NOISE**2 * np.eye(len(mean)), covariance)
    return (mean + (noisy.reshape(len(noisy), -1) - mean) @ gain).reshape(noisy.shape)


def autoencoder(noisy: np.ndarray, train: np.ndarray, steps: int, seed: int) -> np.ndarray:
    """What an autoencoder makes of `noisy` that has learnt on `train`, with new noise at every step."""
    rng = np.random.default_rng(seed)
    model = nn.Autoencoder(size=8, bottleneck=64, width=32, depth=2, rng=rng)

    def loss() -> nn.Tensor:
        clean = train[rng.integers(0, len(train), 64)]
        return nn.mse_loss(model(with_noise(clean, rng)), clean)

    minimise(model, loss, steps, lr=2e-3, text=f"autoencoder, seed {seed}")
    return outputs(model, noisy)


def with_noise(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise added."""
    return images + NOISE * rng.standard_normal(images.shape, dtype=np.float32)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train with every seed, print the PSNR of each, draw ten digits."""
    given = options("denoising_autoencoder", __doc__, arguments, steps=4000, seeds=3)
    data = nn.digits()
    clean, train = data.test_images, data.train_images
    noisy = with_noise(clean, np.random.default_rng(given.seed))
    seeds = range(given.seed, given.seed + given.seeds)
    denoised = [autoencoder(noisy, train, given.steps, seed) for seed in seeds]
    shown = {"clean": clean, "noisy": noisy, "best Gaussian filter": gaussian(noisy, clean)}
    shown |= {"best linear map": wiener(noisy, train), "autoencoder": denoised[0]}
    results = {name: psnr(images, clean) for name, images in shown.items() if name != "clean"}
    scores = [psnr(images, clean) for images in denoised]
    results["autoencoder"] = float(np.mean(scores))
    table(["", "PSNR, dB"], [*results.items()])
    print(f"\nautoencoder: the mean of {len(scores)} seeds, {min(scores):.2f} to {max(scores):.2f}")
    draw(given.output / "denoising_autoencoder.png", shown, data.test_labels)
    return results


def draw(path: Path, shown: dict[str, np.ndarray], labels: np.ndarray) -> None:
    """A row for each, with the first of every digit."""
    first = [int(np.argmax(labels == digit)) for digit in range(10)]
    figure = blank(8, 4.4, "")
    for ax, (name, images) in zip(figure.subplots(len(shown), 1), shown.items(), strict=True):
        strip = np.concatenate([np.pad(images[i, 0], 1) for i in first], 1)
        ax.imshow(strip, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_title(name, fontsize=10, loc="left")
        ax.set_axis_off()
    save(figure, path)


if __name__ == "__main__":
    main()
