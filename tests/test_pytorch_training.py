"""Every network trains as in PyTorch: from the same weights and batches the loss falls along the same curve.

In float64 over all 50 steps. In float32 too, but for networks that normalise batches: that multiplies rounding, until
PyTorch in float32 is as far from PyTorch in float64 as we are from either: by more than 1e-3 in VGG-16 after 7 steps,
in DeconvNet after 13, in SegNet after 33.

Where rounding decides which of two nearly equal numbers is the maximum, curves part: those of the paper's U-Net by 2e-3
with a learning rate of 0.003, PyTorch's from its own in float64 with 0.0015, and by 1e-4 with 0.001, which is taken.
"""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
from network_cases import torch_state

from upconv import nn
from upconv.nn.loading import batches

pytestmark = pytest.mark.pytorch

STEPS, NORMALISED = 50, 5  # compared in float32: all of them, and of networks that normalise batches
EXACT, CLOSE = 1e-6, 1e-3  # relative differences in float64 and float32


def scenes(crop, margin=0, channels=3):
    """Batches of crops of scenes with three classes, and the labels of their middles."""
    source, middle = nn.scenes(12, size=64, classes=3).train, slice(margin, crop - margin)
    drawn = batches(source, nn.Settings(crop=crop, batch=2), np.random.default_rng(0))
    return [(x[:, :channels], y[:, middle, middle].astype(np.int64)) for x, y in (next(drawn) for _ in range(STEPS))]


def themselves(size):
    """Batches of crops in grey, and the same again: what is to come out."""
    return [(x, x) for x, _ in scenes(size, channels=1)]


def patterns(channels):
    """Batches of images of five classes, each a pattern in noise, and the classes."""
    rng = np.random.default_rng(0)
    templates = rng.normal(0, 1, (5, channels, 32, 32))
    classes = rng.integers(0, 5, (STEPS, 8))
    images = templates[classes] + rng.normal(0, 1, (STEPS, 8, channels, 32, 32))
    return list(zip(images.astype(np.float32), classes, strict=True))


CURVES = {  # ours; theirs, of a namespace of PyTorch's networks; batches; learning rate; the steps compared in float32
    "U-Net": (
        lambda: nn.UNet(3, 3, 8, 3, rng=0),
        lambda peers: peers.UNet(3, 3, 8, 3),
        lambda: scenes(48),
        0.003,
        STEPS,
    ),
    "U-Net, as in the paper": (
        lambda: nn.UNet(3, 3, 8, 2, padded=False, rng=0),
        lambda peers: peers.UNet(3, 3, 8, 2, False),
        lambda: scenes(60, 20),
        0.001,
        STEPS,
    ),
    "FCN-32s": (
        lambda: nn.FCN32s(3, 3, 4, dropout=0, rng=0),
        lambda peers: peers.FCN(3, 3, 4, 32),
        lambda: scenes(48),
        0.01,
        STEPS,
    ),
    "FCN-16s": (
        lambda: nn.FCN16s(3, 3, 4, dropout=0, rng=0),
        lambda peers: peers.FCN(3, 3, 4, 16),
        lambda: scenes(48),
        0.005,
        STEPS,
    ),
    "FCN-8s": (
        lambda: nn.FCN8s(3, 3, 4, dropout=0, rng=0),
        lambda peers: peers.FCN(3, 3, 4, 8),
        lambda: scenes(48),
        0.01,
        STEPS,
    ),
    "SegNet": (
        lambda: nn.SegNet(3, 3, 8, 3, rng=0),
        lambda peers: peers.SegNet(3, 3, 8, 3, True),
        lambda: scenes(48),
        0.01,
        NORMALISED,
    ),
    "SegNet, without normalisation": (
        lambda: nn.SegNet(3, 3, 8, 3, False, rng=0),
        lambda peers: peers.SegNet(3, 3, 8, 3, False),
        lambda: scenes(48),
        0.01,
        STEPS,
    ),
    "DeconvNet": (
        lambda: nn.DeconvNet(3, 3, 4, 2, 3, rng=0),
        lambda peers: peers.DeconvNet(3, 3, 4, 2, 3, False, True),
        lambda: scenes(48),
        0.01,
        NORMALISED,
    ),
    "DeconvNet, tied": (
        lambda: nn.DeconvNet(3, 3, 4, 2, 3, True, rng=0),
        lambda peers: peers.DeconvNet(3, 3, 4, 2, 3, True, True),
        lambda: scenes(48),
        0.01,
        NORMALISED,
    ),
    "DeconvNet, tied, without normalisation": (
        lambda: nn.DeconvNet(3, 3, 4, 2, 3, True, False, rng=0),
        lambda peers: peers.DeconvNet(3, 3, 4, 2, 3, True, False),
        lambda: scenes(48),
        0.01,
        STEPS,
    ),
    "autoencoder": (
        lambda: nn.Autoencoder(1, 16, 32, 8, rng=0),
        lambda peers: peers.Autoencoder(1, 16, 32, 8),
        lambda: themselves(32),
        0.01,
        STEPS,
    ),
    "LeNet": (lambda: nn.LeNet(5, rng=0), lambda peers: peers.LeNet(5, 1), lambda: patterns(1), 0.01, STEPS),
    "VGG-11": (
        lambda: nn.VGG(11, 5, 3, 4, size=32, dropout=0, rng=0),
        lambda peers: peers.torch_vgg(peers.PLANS[11], 5, 3, 4, False, 1),
        lambda: patterns(3),
        0.01,
        STEPS,
    ),
    "VGG-16, batch normalisation": (
        lambda: nn.VGG(16, 5, 3, 4, True, 32, 0, rng=0),
        lambda peers: peers.torch_vgg(peers.PLANS[16], 5, 3, 4, True, 1),
        lambda: patterns(3),
        0.01,
        NORMALISED,
    ),
    "ResNet-18": (
        lambda: nn.ResNet(18, 5, 3, 4, rng=0),
        lambda peers: peers.torch_resnet(peers.BLOCKS[18], 5, 3, 4),
        lambda: patterns(3),
        0.01,
        NORMALISED,
    ),
}


def curve(tools, model, data, lr, tensor):
    """The losses of SGD with momentum, step by step: one loop for ours and theirs, whose names are the same."""
    optimizer, found = tools.SGD(model.parameters(), lr=lr, momentum=0.9), []
    for x, y in data:
        made, wanted = model(tensor(x)), tensor(y)
        if y.dtype == x.dtype:
            loss = tools.mse_loss(made, wanted)
        else:
            loss = tools.cross_entropy(made, wanted, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return np.array(found)


@pytest.mark.parametrize("name", CURVES)
def test_the_loss_falls_as_in_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    import pytorch_dense
    import pytorch_networks

    from benchmarks.peers import pytorch_unet

    peers = SimpleNamespace(**{**vars(pytorch_networks), **vars(pytorch_dense), "UNet": pytorch_unet.UNet})
    tools = SimpleNamespace(**vars(torch.nn.functional), SGD=torch.optim.SGD)
    make, make_theirs, make_data, lr, steps = CURVES[name]
    ours, theirs, data = make(), make_theirs(peers), make_data()
    for module in theirs.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0
    theirs.load_state_dict(torch_state(ours))
    doubles = deepcopy(ours).to("float64"), deepcopy(theirs).double()

    found = curve(nn, ours, data[:steps], lr, np.asarray)
    np.testing.assert_allclose(found, curve(tools, theirs, data[:steps], lr, torch.from_numpy), rtol=CLOSE)

    wide = [tuple(array.astype(f"{array.dtype.kind}8") for array in pair) for pair in data]
    found, expected = curve(nn, doubles[0], wide, lr, np.asarray), curve(tools, doubles[1], wide, lr, torch.from_numpy)
    np.testing.assert_allclose(found, expected, rtol=EXACT)
    assert expected[-10:].mean() < 0.9 * expected[:3].mean()
