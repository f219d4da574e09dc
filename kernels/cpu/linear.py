"""The fully connected layer: a convolution of 1 x 1 pixels, one for each row of x."""

import numpy as np

from ..layout import Array
from ..window import Window
from . import rank_one, sums
from .correlation import correlate
from .gradient import correlate_weight
from .phases import whole

ALONE = Window((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))


def _pixels(x: Array) -> Array:
    """(M, C) as a channels-last map of one row: (1, C, 1, M)."""
    return x.T[None, :, None, :]


def linear(outputs: list[Array], x: Array, weight: Array, bias: Array | None, *, activation: str | None) -> None:
    """linear."""
    correlate(whole, _pixels(outputs[0]), _pixels(x), weight[..., None, None], ALONE, 1, bias, activation)


def linear_input(outputs: list[Array], weight: Array, grad: Array) -> None:
    """linear_input."""
    if len(weight) == 1:
        return rank_one.product(outputs[0], np.ascontiguousarray(grad[:, 0]), np.ascontiguousarray(weight[0]))
    if len(grad) == 1 and weight.flags.c_contiguous:
        return rank_one.weighted_sum(outputs[0][0], grad[0], weight)
    linear(outputs, grad, weight.T, None, activation=None)


def linear_weight(outputs: list[Array], x: Array, grad: Array) -> None:
    """linear_weight."""
    if len(x) == 1:
        return rank_one.product(outputs[0], grad[0], x[0])
    if grad.shape[1] == 1:
        return rank_one.weighted_sum(outputs[0][0], np.ascontiguousarray(grad[:, 0]), x)
    x, grad = _pixels(x), _pixels(grad)
    dw, one = outputs[0][..., None, None], ALONE
    correlate_weight(dw, x, grad, stride=one.stride, padding=one.padding, dilation=one.dilation, groups=1)


def linear_bias(outputs: list[Array], grad: Array) -> None:
    """linear_bias."""
    sums.channel_sum(outputs, _pixels(grad))
