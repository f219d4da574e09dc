"""Layers that act differently in training: batch normalisation and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.namespace import on_device
from .. import functional
from ..functional import Input
from ..module import Module
from ..parameter import Parameter
from ..tensor import Array, Tensor
from .arguments import checked, positive, shown


class BatchNorm2d(Module):
    """y[n,c,i,j] = w[c] (x[n,c,i,j] - m[c]) / sqrt(v[c] + eps) + b[c]; arguments as PyTorch's.

    m and v are the mean and variance of channel c, in training those of the batch (biased), else the running ones:
    running = (1 - momentum) running + momentum (the batch's, unbiased). momentum=None averages over all batches;
    track_running_stats=False keeps none and always takes the batch's.

    weight: (num_features,), ones, bias: zeros; with affine=False none. Buffers running_mean, running_var and
    num_batches_tracked.

    Source: Ioffe & Szegedy, "Batch normalization" (2015), algorithms 1 and 2.
    """

    num_batches_tracked: Array
    optional = ("num_batches_tracked",)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        """Arguments as in `torch.nn.BatchNorm2d`."""
        self.num_features = positive("BatchNorm2d: num_features", num_features)
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.running_mean: Array | None = None
        self.running_var: Array | None = None
        if track_running_stats:
            self.register_buffer("running_mean", np.zeros(num_features, np.float32))
            self.register_buffer("running_var", np.ones(num_features, np.float32))
            self.register_buffer("num_batches_tracked", np.zeros((), np.int64))

    def forward(self, x: Input, *, activation: str | None = None) -> Tensor:
        """N C H W -> N C H W; activation="relu" in the same pass."""
        x = checked(self, x, self.num_features, {4: "N C H W"}, self.weight)
        training = self.training or self.running_mean is None
        momentum = 0.0 if self.momentum is None else self.momentum
        if training and self.running_mean is not None:
            self.num_batches_tracked += 1
            momentum = 1 / self._batches() if self.momentum is None else momentum
        return functional.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=training,
            momentum=momentum,
            eps=self.eps,
            activation=activation,
        )

    def _batches(self) -> Any:
        """How many there were: a Python number, but on a GPU, where reading it would be a transfer, an array of one."""
        count = self.num_batches_tracked
        return count.astype(np.float32) if on_device(count) else int(count)

    def describe(self) -> str:
        """What was given to the constructor and differs from its defaults."""
        values = {"eps": self.eps, "momentum": self.momentum, "affine": self.weight is not None}
        values["track_running_stats"] = self.running_mean is not None
        usual = {"eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True}
        return shown(self.num_features, values=values, usual=usual)


class Dropout(Module):
    """y = x m / (1 - p), each m being 0 with probability p, else 1; in evaluation y = x.

    Every call draws a seed from the generator that `manual_seed` restarts.
    """

    def __init__(self, p: float = 0.5) -> None:
        """p: 0..1."""
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is {p!r}; a probability, 0..1, is needed")
        self.p = p

    def forward(self, x: Input) -> Tensor:
        """Any shape."""
        return functional.dropout(x, p=self.p, training=self.training)

    def describe(self) -> str:
        """The probability."""
        return str(self.p)
