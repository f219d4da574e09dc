"""What the tests of networks share."""

import numpy as np

from upconv import nn


def drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def count(model):
    return sum(parameter.size for parameter in model.parameters())


NETWORKS = {  # a small one of each kind, and shapes that it takes
    "U-Net": (lambda: nn.UNet(2, 3, 4, 2, dropout=0.2, rng=0), (1, 2, 16, 24), (3, 2, 40, 20)),
    "U-Net, unpadded": (
        lambda: nn.UNet(1, 3, 4, 2, padded=False, batch_norm=True, rng=0),
        (1, 1, 44, 48),
        (2, 1, 60, 44),
    ),
    "FCN-32s": (lambda: nn.FCN32s(2, 3, 1, rng=0), (1, 2, 64, 32), (2, 2, 45, 70)),
    "FCN-16s": (lambda: nn.FCN16s(2, 3, 1, rng=0), (1, 2, 33, 64), (2, 2, 64, 30)),
    "FCN-8s": (lambda: nn.FCN8s(2, 3, 1, rng=0), (1, 2, 64, 64), (2, 2, 50, 33)),
    "FCN-8s, padding 100": (lambda: nn.FCN8s(2, 3, 1, 100, rng=0), (1, 2, 5, 1), (2, 2, 40, 37)),
    "SegNet": (lambda: nn.SegNet(2, 3, 2, rng=0), (1, 2, 37, 64), (2, 2, 64, 33)),
    "SegNet, two stages": (lambda: nn.SegNet(1, 3, 4, depth=2, batch_norm=False, rng=0), (2, 1, 5, 4), (1, 1, 8, 8)),
    "DeconvNet": (lambda: nn.DeconvNet(2, 3, 1, window=1, rng=0), (1, 2, 64, 32), (2, 2, 40, 50)),
    "DeconvNet, tied": (
        lambda: nn.DeconvNet(2, 3, 2, depth=2, window=3, tied=True, rng=0),
        (2, 2, 15, 12),
        (1, 2, 16, 16),
    ),
    "Autoencoder": (lambda: nn.Autoencoder(1, 5, (8, 12), 4, rng=0), (1, 1, 8, 12), (3, 1, 8, 12)),
    "LeNet": (lambda: nn.LeNet(rng=0), (1, 1, 32, 32), (3, 1, 32, 32)),
    "VGG": (lambda: nn.VGG(11, 5, 3, 2, size=32, rng=0), (2, 3, 32, 32), (1, 3, 32, 32)),
    "VGG, batch normalisation": (lambda: nn.VGG(16, 5, 3, 1, True, 64, rng=0), (2, 3, 64, 64), (1, 3, 64, 64)),
    "ResNet": (lambda: nn.ResNet(18, 5, 3, 4, rng=0), (1, 3, 32, 32), (2, 3, 35, 47)),
}


def randomised(model):
    """With weights that are 0 or 1 at first, and statistics, drawn as well."""
    rng = np.random.default_rng(0)
    for name, array in [*((n, p.data) for n, p in model.named_parameters()), *model.named_buffers()]:
        if name.endswith("running_var"):
            array[...] = rng.uniform(0.5, 2, array.shape)
        elif array.ndim == 1 or not array.any():
            array += rng.normal(0, 0.1, array.shape).astype(array.dtype)
    return model


def check_gradients(model, x):
    """Forward and backward: every parameter gets a gradient, and all but biases before a normalisation are not 0."""
    y = model(x)
    assert np.isfinite(y.data).all()
    (y * drawn(*y.shape, seed=1)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.shape == parameter.shape, name
        assert np.isfinite(parameter.grad).all() and parameter.grad.any(), name


def check_round_trip(model, x, path):
    """What `save` wrote, `load` builds again: the same class, arguments, state and result."""
    with nn.no_grad():
        model(x)  # moves running statistics
    nn.save(model, path)
    loaded = nn.load(path)
    assert type(loaded) is type(model) and loaded.config == model.config
    with nn.no_grad():
        np.testing.assert_array_equal(loaded.eval()(x).data, model.eval()(x).data)


def torch_state(model):
    import torch

    return {name: torch.from_numpy(array) for name, array in model.state_dict().items()}


def check_exchange(ours, theirs, x):
    """State goes to PyTorch, which gives the same logits in both modes, and comes back changed, with the same again."""
    import torch

    theirs.load_state_dict(torch_state(ours))  # strict: the same names and shapes
    with nn.no_grad(), torch.no_grad():
        theirs(torch.from_numpy(x)), ours(x)  # training mode: running statistics move
        for parameter in theirs.parameters():
            parameter.mul_(1.1)
        expected = theirs.eval()(torch.from_numpy(x)).numpy()
        assert not np.allclose(ours.eval()(x).data, expected, atol=1e-3)
        ours.load_state_dict(theirs.state_dict())
        scale = max(1, abs(expected).max())
        np.testing.assert_allclose(ours(x).data, expected, atol=1e-4 * scale)
    for name, array in ours.state_dict().items():
        np.testing.assert_array_equal(array, theirs.state_dict()[name].numpy())
