"""What the networks' tests share: leaves with drawn numbers, and gradients compared with finite differences."""

import numpy as np

from upconv import nn

STEP = 1e-7  # small, so that hardly any unit crosses a kink; rounding then errs by about 1e-9


def rand(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def leaves(*arrays):
    return [nn.Tensor(array, requires_grad=True) for array in arrays]


def slope(loss, array, direction):
    """(loss(array + s d) - loss(array - s d)) / 2 s, the array changed in place and back."""
    before = array.copy()
    with nn.no_grad():
        array[...] = before + STEP * direction
        above = loss().item()
        array[...] = before - STEP * direction
        below = loss().item()
    array[...] = before
    return (above - below) / (2 * STEP)


def units(shape):
    for index in np.ndindex(shape):
        direction = np.zeros(shape)
        direction[index] = 1
        yield index, direction


def check(function, *inputs):
    """All elements of all inputs, under a random linear functional of the result."""
    weights = rand(*function(*inputs).shape, seed=7)

    def loss():
        return (function(*inputs) * weights).sum()

    loss().backward()
    for x in inputs:
        expected = np.empty(x.shape)
        for index, direction in units(x.shape):
            expected[index] = slope(loss, x.data, direction)
        assert x.grad.dtype == np.float64
        np.testing.assert_allclose(x.grad, expected, rtol=0, atol=1e-6 * max(1, abs(expected).max()))
