"""Small networks and training steps for the tests on CuPy arrays."""

import copy

import numpy as np

from upconv import nn

CLASSES = 3
NETWORKS = {  # a small one, and a batch
    "U-Net, dropout": (lambda: nn.UNet(1, CLASSES, 2, 1, dropout=0.3, rng=0), (2, 1, 8, 8)),
    "U-Net, unpadded": (lambda: nn.UNet(1, CLASSES, 2, 1, padded=False, batch_norm=True, rng=0), (2, 1, 20, 24)),
    "SegNet": (lambda: nn.SegNet(1, CLASSES, 2, depth=2, rng=0), (2, 1, 9, 8)),
    "classifier": (lambda: classifier(), (4, 1, 8, 8)),
}
OPTIMIZERS = {
    "sgd": lambda params: nn.SGD(params, 0.05, momentum=0.9, weight_decay=0.01),
    "adam": lambda params: nn.Adam(params, 0.01),
}


def classifier():
    head = nn.Linear(4 * 3 * 3, CLASSES, rng=1)
    return nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), head)


def batches(count, network, shape):
    """(images, labels) of as many steps, in NumPy arrays."""
    rng = np.random.default_rng(0)
    with nn.no_grad():
        given = copy.deepcopy(network).eval()(np.zeros(shape, np.float32)).shape
    for _ in range(count):
        yield rng.standard_normal(shape, np.float32), rng.integers(0, given[1], (given[0], *given[2:]))


def stepping(network, optimizer, clip=None):
    def step(images, labels):
        loss = nn.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        return loss

    return step
