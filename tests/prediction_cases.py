"""What the tests of prediction share."""

import numpy as np
from network_cases import NETWORKS, randomised

from upconv import nn


def direct(model, x):
    with nn.no_grad():
        return nn.softmax(model(x[None])).data[0]


def image(height, width, channels=1):
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, channels)).astype(np.uint8)


DENSE = [name for name in NETWORKS if name.startswith(("U-Net", "FCN", "SegNet", "DeconvNet"))]
SHARP = ("U-Net", "U-Net, unpadded", "SegNet, two stages", "DeconvNet, tied")  # whose filters reach as far as they can


def network(name, dtype="float32"):
    return randomised(NETWORKS[name][0]()).to(dtype)


def both(model, picture, tile):
    """(the result in tiles, that of the whole image)."""
    told = []
    tiled = nn.probabilities(model, picture, tile=tile, on_tile=lambda *numbers: told.append(numbers))
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)] and len(told) > 1
    return tiled, nn.probabilities(model, picture, tile=10_000)


class Own(nn.Module):
    """A network that is none of ours."""

    def __init__(self, kind):
        self.kind, self.conv = kind, nn.Conv2d(1, 3, 5, padding=2, rng=0)
        self.last = nn.Conv2d(3, 3, 3, rng=1)

    def forward(self, x):
        y = self.conv(x)
        if self.kind == "global":
            return y + nn.global_avg_pool2d(y)
        if self.kind == "scaled":
            return y * float(1 / abs(y.data).max())
        if self.kind == "coordinates":
            return y + np.linspace(0, 1, y.shape[3], dtype=y.dtype)[None, None, None]
        if self.kind == "enlarged":
            return self.last(nn.interpolate(nn.avg_pool2d(y, 3), scale_factor=3, mode="bilinear"))
        return nn.relu(self.last(nn.interpolate(nn.max_pool2d(y, 2), scale_factor=2)) * 0.5)
