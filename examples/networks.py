"""SegNet, FCN-8s and U-Net on the same drawn scenes: five classes, void borders.

The three start from random weights and get the same crops, steps and learning rate. Multiplications are those of one
image forward. Beside them stands the class that is most frequent, everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _recipe import constant, mean_iou, options, pictures, spread, table, train

from upconv import nn

NETWORKS = {
    "SegNet": lambda classes, width, seed: nn.SegNet(3, classes, width, depth=4, rng=seed),
    "FCN-8s": lambda classes, width, seed: nn.FCN8s(3, classes, width, dropout=0.0, rng=seed),
    "U-Net": lambda classes, width, seed: nn.UNet(3, classes, width, depth=4, rng=seed),
}


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train each with every seed, print its IoU, size and cost, draw some scenes under each."""
    given = options("networks", __doc__, arguments, steps=300, seeds=2)
    size, width, count = (32, 2, 8) if given.quick else (64, 16, 200)
    data = nn.scenes(count, size=size, classes=5, seed=1000 + given.seed)
    trivial = mean_iou(constant(data), [sample.labels for sample in data.test], data.classes)
    results = {"most frequent class": trivial}
    rows: list[list[Any]] = []
    shown = [{"image": sample.image, "truth": sample.labels} for sample in data.test[:3]]
    for name, make in NETWORKS.items():
        found = []
        for seed in range(given.seed, given.seed + given.seeds):
            print(f"{name}, seed {seed}", flush=True)
            model = make(data.classes, width, seed)
            settings = {"batch": 8, "crop": size, "lr": 4e-3, "schedule": "one_cycle", "evaluate_every": given.steps}
            found.append(nn.metrics.iou(train(model, data, steps=given.steps, seed=seed, **settings)))
        for sample, row in zip(data.test, shown, strict=False):
            row[name] = nn.predict(model, sample.image)
        cost = nn.summary(model, (1, 3, size, size))
        means = [nn.metrics.mean(each) for each in found]
        results[name] = float(np.mean(means))
        of_classes = [f"{each:.2f}" for each in np.mean(found, 0)]
        rows.append([name, spread(means), *of_classes, f"{cost.parameters:,}", f"{cost.macs / 1e6:.0f}"])
    rows.append(["the most frequent class", trivial, *[""] * (data.classes + 2)])
    classes = ["background", "rectangles", "discs", "ellipses", "lines"]
    table(["network", "mean IoU", *classes, "parameters", "million MACs"], rows)
    pictures(given.output / "networks.png", shown)
    return results


if __name__ == "__main__":
    main()
