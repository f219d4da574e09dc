"""What the tests of networks share."""

import numpy as np

from upconv import nn


def drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def count(model):
    return sum(parameter.size for parameter in model.parameters())


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
