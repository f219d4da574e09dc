"""A U-Net finds nuclei: trained on three quadrants of one microscopy image, tested on the fourth.

Beside it stands the one intensity threshold that is best for the test quadrant, found with its truth in hand: no
thresholding of the whole quadrant can do better.
"""

from __future__ import annotations

import numpy as np
from _recipe import options, pictures, table, train

from upconv import nn


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train, print Dice and IoU of the held-out quadrant, draw it."""
    given = options("nuclei_unet", __doc__, arguments, steps=240)
    width, size = (4, {"batch": 1, "crop": 32}) if given.quick else (16, {"batch": 4, "crop": 128})
    data = nn.nuclei(quadrant=3)
    model = nn.UNet(in_channels=1, classes=2, width=width, depth=3, rng=given.seed)
    counts = train(model, data, given.output, steps=given.steps, seed=given.seed, **size)

    dice, iou = (nn.metrics.headline(score(counts)) for score in (nn.metrics.dice, nn.metrics.iou))
    (sample,) = data.test
    best = nn.metrics.best_threshold(sample.image[:, :, 0], sample.labels)
    table(["", "Dice", "IoU"], [["U-Net", dice, iou], ["best threshold", best.dice, best.iou]])
    bright = (sample.image[:, :, 0] >= best.value).astype(np.uint8)
    shown = {"image": sample.image, "mask": sample.labels, "U-Net": nn.predict(model, sample.image)}
    pictures(given.output / "nuclei_unet.png", [shown | {"best threshold": bright}])
    return {"dice": dice, "iou": iou, "threshold dice": best.dice, "threshold iou": best.iou}


if __name__ == "__main__":
    main()
