"""Every operator in PyTorch: functions of tensors with the operators' own arguments. Importing this needs torch."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .pytorch_windows import (
    activated,
    avg_pool2d,
    conv2d,
    conv_transpose2d,
    max_pool2d,
    max_pool2d_offsets,
    max_unpool2d,
    unpool2d,
)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, activation: str | None) -> Tensor:
    return activated(F.linear(x, weight, bias), activation)


def channel_sum(x: Tensor) -> Tensor:
    return x.sum((-2, -1)).sum(0) if x.ndim == 4 else x.sum((-2, -1))


def bias_relu_input(y: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    dx = torch.ops.aten.threshold_backward(grad, y, 0)
    return dx, channel_sum(dx)


def interpolate(x: Tensor, *, size: Any, scale_factor: Any, mode: str, align_corners: bool) -> Tensor:
    return F.interpolate(
        x, size, scale_factor, mode, None if mode == "nearest" and not align_corners else align_corners
    )


# Normalisation


def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    eps: float,
    activation: str | None,
) -> Tensor:
    return activated(F.batch_norm(x, mean, variance, weight, bias, eps=eps), activation)


def batch_norm_training(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, *, eps: float, activation: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    mean, variance = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1])
    y = F.batch_norm(x, mean, variance, weight, bias, training=True, momentum=1.0, eps=eps)
    count = prod(x.shape) // x.shape[1]
    if not count:  # it leaves the running statistics alone
        mean, variance = mean / 0, variance / 0
    return activated(y, activation), mean, variance * (count - 1) / max(count, 1)


# Losses


def unspoilt(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """Ours say that void pixels do not count, whatever they hold; in PyTorch's gradients their NaN stays NaN."""
    return torch.where((labels == ignore_index)[:, None], 0, logits)


def cross_entropy(
    logits: Tensor, labels: Tensor, *, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:
    logits = unspoilt(logits, labels, ignore_index)
    return F.cross_entropy(logits, labels.long(), weight, ignore_index=ignore_index, reduction=reduction)


def nll_loss(
    log_probabilities: Tensor, labels: Tensor, *, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:
    return F.nll_loss(log_probabilities, labels.long(), weight, ignore_index=ignore_index, reduction=reduction)


def dice_loss(logits: Tensor, labels: Tensor, *, ignore_index: int, smooth: float, squared: bool) -> Tensor:
    """PyTorch has none: the formula, with its softmax and its gradients."""
    p, counted = torch.softmax(unspoilt(logits, labels, ignore_index), 1), labels != ignore_index
    p, wanted = p.movedim(1, -1)[counted], F.one_hot(labels[counted].long(), logits.shape[1])
    below = (p * p if squared else p).sum(0) + wanted.sum(0) + smooth
    return 1 - ((2 * (p * wanted).sum(0) + smooth) / below).mean()


COUNTERPARTS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "avg_pool2d": avg_pool2d,
    "batch_norm": batch_norm,
    "batch_norm_training": batch_norm_training,
    "bias_relu_input": bias_relu_input,
    "binary_cross_entropy_with_logits": lambda x, target, *, weight, pos_weight, reduction: (
        F.binary_cross_entropy_with_logits(x, target, weight, reduction=reduction, pos_weight=pos_weight)
    ),
    "channel_sum": channel_sum,
    "concatenate": lambda xs: torch.cat(xs, 1),
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "cross_entropy": cross_entropy,
    "dice_loss": dice_loss,
    "global_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 1),
    "global_max_pool2d": lambda x, *, return_indices: F.adaptive_max_pool2d(x, 1, return_indices),
    "interpolate": interpolate,
    "l1_loss": lambda x, target, *, reduction: F.l1_loss(x, target, reduction=reduction),
    "leaky_relu": lambda x, *, negative_slope: F.leaky_relu(x, negative_slope),
    "linear": linear,
    "log_softmax": lambda x: torch.log_softmax(x, 1),
    "max_pool2d": max_pool2d,
    "max_pool2d_offsets": max_pool2d_offsets,
    "max_unpool2d": max_unpool2d,
    "mse_loss": lambda x, target, *, reduction: F.mse_loss(x, target, reduction=reduction),
    "nll_loss": nll_loss,
    "relu": lambda x: F.relu(x),
    "sigmoid": lambda x: torch.sigmoid(x),
    "softmax": lambda x: torch.softmax(x, 1),
    "tanh": lambda x: torch.tanh(x),
    "unpool2d": unpool2d,
}
