"""Every network trains: what it makes of images that it has not seen beats the best that a constant can do."""

import numpy as np
import pytest

from upconv import nn
from upconv.nn import metrics
from upconv.nn.configured import build
from upconv.settings import Network

SMALL = nn.scenes(24, size=48, classes=3)
LARGE = nn.scenes(16, size=256, classes=2)  # large enough for scores that are 32 pixels apart
DENSE = {  # what `upconv train` is given: network, images, settings
    "U-Net": ({"network": "unet", "width": 8, "depth": 2}, LARGE, {"crop": 64}),
    "U-Net, as in the paper": ({"network": "unet", "width": 8, "depth": 2, "padded": False}, LARGE, {"crop": 92}),
    "FCN-32s": ({"network": "fcn32s", "width": 4, "dropout": 0}, LARGE, {"crop": 128, "steps": 150, "lr": 2e-3}),
    "FCN-16s": ({"network": "fcn16s", "width": 4, "dropout": 0}, LARGE, {"crop": 128, "steps": 150, "lr": 2e-3}),
    "FCN-8s": ({"network": "fcn8s", "width": 4, "dropout": 0}, LARGE, {"crop": 128, "steps": 150, "lr": 2e-3}),
    "SegNet": ({"network": "segnet", "width": 8, "depth": 2}, SMALL, {"crop": 48}),
    "DeconvNet": ({"network": "deconvnet", "width": 4, "depth": 2}, SMALL, {"crop": 48}),
    "DeconvNet, tied": ({"network": "deconvnet", "width": 4, "depth": 2, "tied": True}, SMALL, {"crop": 48}),
}


@pytest.mark.parametrize("name", DENSE)
def test_segmentation_beats_the_most_frequent_class(name):
    """In the mean over classes of Dice and IoU on scenes that were held out, by 0.15 at least."""
    arguments, data, settings = DENSE[name]
    settings = {"steps": 80, "lr": 4e-3, "evaluate_every": 1000} | settings
    counts = nn.fit(build(data, Network(**arguments), 0), data, **settings).counts
    pixels = counts.sum(1)
    constant = np.zeros_like(counts)
    constant[:, pixels.argmax()] = pixels
    for score in (metrics.dice, metrics.iou):
        assert metrics.mean(score(counts)) > metrics.mean(score(constant)) + 0.15


def trained(model, optimizer, loss, draw, steps):
    """The model after so many steps on what is drawn, as it predicts."""
    for _ in range(steps):
        x, y = draw()
        value = loss(model(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return model.eval()


def test_depth_from_one_image_beats_the_mean_depth():
    """Regression: discs in fog, which fades them the more the further away they are; the floor is nearer below."""
    rng, size = np.random.default_rng(0), 32
    rows, columns = np.mgrid[:size, :size]

    def draw(count=4):
        depth = np.broadcast_to(3 - 1.5 * rows / size, (count, size, size)).copy()
        light = rng.uniform(0.6, 1, (count, 1, 1)) * np.ones_like(depth)
        for view in range(count):
            for distance in np.sort(rng.uniform(0.5, 3, 5))[::-1]:  # the nearest is drawn last
                top, left, radius = *rng.uniform(0, size, 2), 8 / distance
                inside = np.hypot(rows - top, columns - left) < radius
                depth[view][inside], light[view][inside] = distance, rng.uniform(0.6, 1)
        seen = light * np.exp(-depth / 2) + rng.normal(0, 0.01, depth.shape)
        return (4 * seen[:, None]).astype(np.float32), depth[:, None].astype(np.float32)

    model = nn.UNet(in_channels=1, classes=1, width=8, depth=2, rng=0)
    trained(model, nn.Adam(model.parameters(), lr=5e-3), nn.mse_loss, draw, 80)
    x, depth = draw(16)
    with nn.no_grad():
        error = nn.mse_loss(model(x), depth).item()
    assert error < 0.5 * depth.var()  # what the mean depth of these very images leaves


def test_the_autoencoder_beats_the_mean_image():
    rng, size = np.random.default_rng(0), 16
    places = np.arange(size)

    def draw(count=16):
        centres = rng.uniform(3, size - 3, (2, count, 1))
        along = np.exp(-((places - centres) ** 2) / 8)
        x = (along[0][:, :, None] * along[1][:, None, :])[:, None].astype(np.float32)
        return x, x

    model = nn.Autoencoder(1, bottleneck=4, size=size, width=8, rng=0)
    trained(model, nn.Adam(model.parameters(), lr=5e-3), nn.mse_loss, draw, 150)
    x, _ = draw(64)
    with nn.no_grad():
        error = nn.mse_loss(model(x), x).item()
    assert error < 0.5 * x.var(axis=0).mean()  # what the mean of these very images leaves


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LeNet(3, rng=0),
        lambda: nn.VGG(11, 3, 1, 4, batch_norm=True, size=32, dropout=0, rng=0),
        lambda: nn.ResNet(18, 3, 1, 8, rng=0),
    ],
    ids=["LeNet", "VGG-11", "ResNet-18"],
)
def test_classifiers_beat_the_most_frequent_class(make):
    rng, size = np.random.default_rng(0), 32
    rows, columns = np.mgrid[:size, :size]

    def draw(count=16):
        """A disc, a ring or a cross somewhere, in noise; every second is a disc."""
        labels = rng.choice(3, count, p=[0.5, 0.25, 0.25])
        x = rng.normal(0, 0.3, (count, 1, size, size))
        for image, label in zip(x[:, 0], labels, strict=True):
            down, right = rows - rng.uniform(10, size - 10), columns - rng.uniform(10, size - 10)
            distance = np.hypot(down, right)
            shapes = distance < 7, abs(distance - 7) < 2, (np.minimum(abs(down), abs(right)) < 2) & (distance < 9)
            image[shapes[label]] += 1
        return x.astype(np.float32), labels

    model = make()
    trained(model, nn.Adam(model.parameters(), lr=5e-3), nn.cross_entropy, draw, 120)
    x, labels = draw(96)
    with nn.no_grad():
        right = (model(x).data.argmax(1) == labels).mean()
    assert right > np.bincount(labels).max() / len(labels) + 0.2
