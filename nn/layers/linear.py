"""The fully connected layer, and the same layer as a convolution."""

from __future__ import annotations

import numpy as np

from ... import kernels
from .. import functional, init
from ..functional import Input
from ..module import Module
from ..parameter import Parameter
from ..tensor import Tensor, as_tensor
from .arguments import Pair, of_one_kind, pair, positive, shown
from .convolution import Conv2d


class Linear(Module):
    """y[n,k] = b[k] + sum over f of w[k,f] x[n,f]; arguments as PyTorch's.

    weight: (out_features, in_features), drawn as in `init.he_normal_`; bias: (out_features,), zeros, or None. rng: a
    NumPy Generator or a seed; None draws from the generator of `manual_seed`.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rng: init.Seed = None) -> None:
        """Draw the weights; arguments as in `torch.nn.Linear`, and rng."""
        self.in_features = positive("Linear: in_features", in_features)
        self.out_features = positive("Linear: out_features", out_features)
        weight = np.empty((self.out_features, self.in_features), np.float32)
        init.he_normal_(weight, rng=rng)
        self.weight = Parameter(weight)
        self.bias = Parameter(np.zeros(self.out_features, np.float32)) if bias else None

    def forward(self, x: Input, *, activation: str | None = None) -> Tensor:
        """N F -> N K, with any axes in place of N; activation="relu" in the same pass."""
        x = as_tensor(x)
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(f"{self!r}: the input has shape {x.shape}; N x {self.in_features} is needed")
        of_one_kind(self, x, self.weight)
        return functional.linear(x, self.weight, self.bias, activation=activation)

    def describe(self) -> str:
        """The numbers of features, and whether there is no bias."""
        values = {"bias": self.bias is not None}
        return shown(self.in_features, self.out_features, values=values, usual={"bias": True})


class Flatten(Module):
    """y[n, ...] = x[n, ...] with the axes from start_dim to end_dim as one, row by row; as `torch.nn.Flatten`."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        """Arguments as in `torch.nn.Flatten`."""
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Input) -> Tensor:
        """By default N C H W -> N (C H W)."""
        return functional.flatten(x, self.start_dim, self.end_dim)

    def describe(self) -> str:
        """The axes, where they are not the usual ones."""
        values = {"start_dim": self.start_dim, "end_dim": self.end_dim}
        return shown(values=values, usual={"start_dim": 1, "end_dim": -1})


def convolutionalize(linear: Linear, size: Pair = 1) -> Conv2d:
    """w'[k,c,u,v] = w[k, (c kh + u) kw + v]: a fully connected layer as the convolution that does the same.

    On a map of exactly `size` pixels the convolution gives, as N K 1 1, what `linear` gives for the map flattened; on a
    larger map it gives that for every window, which makes a classifier an FCN. Later linear layers have size 1.

    linear: a `Linear` that reads C kh kw features. size: (kh, kw), or one number for both.
    Returns a `Conv2d` with its own copies of the parameters.

    Raises ValueError where kh kw does not divide the number of features.

    Source: Long, Shelhamer & Darrell, "Fully convolutional networks for semantic segmentation" (2015), section 3.1.

    >>> import numpy as np
    >>> from upconv import nn
    >>> linear, maps = nn.Linear(4 * 7 * 7, 10, rng=0), np.ones((1, 4, 7, 7), np.float32)
    >>> scores, dense = linear(nn.flatten(maps)), nn.convolutionalize(linear, 7)
    >>> dense(maps).shape, np.allclose(dense(maps).data[:, :, 0, 0], scores.data, atol=1e-5)
    ((1, 10, 1, 1), True)
    >>> dense(np.ones((1, 4, 9, 8), np.float32)).shape
    (1, 10, 3, 2)
    """
    height, width = pair("convolutionalize: size", size)
    if linear.in_features % (height * width):
        raise ValueError(
            f"convolutionalize: {linear.in_features} features are no whole number of {height} x {width} planes"
        )
    channels = linear.in_features // (height * width)
    made = Conv2d(channels, linear.out_features, (height, width), bias=linear.bias is not None, rng=0)
    weight = linear.weight.data.reshape(linear.out_features, channels, height, width)
    made.weight.data = kernels.channels_last(weight.copy())
    if made.bias is not None and linear.bias is not None:
        made.bias.data = linear.bias.data.copy()
    return made.train(linear.training)
