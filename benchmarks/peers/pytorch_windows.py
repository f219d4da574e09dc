"""Convolutions and pooling of every kind in PyTorch, with upconv's own arguments. Importing this needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]
Two = int | Sequence[int]  # for rows and columns: one number or a pair
Sides = tuple[Pair, Pair]  # ((top, bottom), (left, right))


def two(value: Any) -> tuple[Any, Any]:
    """A pair from a number or a pair."""
    return (value[0], value[1]) if isinstance(value, (tuple, list)) else (value, value)


def sides(padding: Any) -> tuple[Sides, Pair | None]:
    """((top, bottom), (left, right)), and the pair that PyTorch takes for it, None where there is none."""
    rows, columns = map(two, two(padding))
    return (rows, columns), (rows[0], columns[0]) if rows[0] == rows[1] and columns[0] == columns[1] else None


def padded(x: Tensor, padding: Sides, value: float = 0.0) -> Tensor:
    rows, columns = padding
    return F.pad(x, (*columns, *rows), value=value)


def activated(y: Tensor, activation: str | None) -> Tensor:
    return F.relu(y) if activation == "relu" else y


# Convolution


def same(size: Sequence[int], kernel: Sequence[int], stride: Pair, dilation: Pair) -> Sides:
    """ONNX SAME_UPPER: what F.conv2d(padding="same") does, which knows no stride."""
    rows, columns = (
        max((ceil(h / s) - 1) * s + d * (k - 1) + 1 - h, 0)
        for h, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    )
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: Two,
    padding: Any,
    dilation: Two,
    groups: int,
    activation: str | None,
) -> Tensor:
    steps, gaps = two(stride), two(dilation)
    if padding == "same" and steps != (1, 1):
        padding = same(x.shape[-2:], weight.shape[2:], steps, gaps)
    if not isinstance(padding, str):
        four, padding = sides(padding)
        if padding is None:
            x, padding = padded(x, four), 0
    return activated(F.conv2d(x, weight, bias, steps, padding, gaps, groups), activation)


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: Two,
    padding: Any,
    output_padding: Two,
    output_size: Two | None,
    groups: int,
    dilation: Two,
    activation: str | None,
) -> Tensor:
    ((top, bottom), (left, right)), pair = sides(padding)
    if output_size is not None:  # nn.ConvTranspose2d makes an output_padding of it too
        window = zip(
            x.shape[-2:], weight.shape[2:], two(stride), two(dilation), (top + bottom, left + right), strict=True
        )
        least = [(h - 1) * s + d * (k - 1) + 1 - crop for h, k, s, d, crop in window]
        output_padding = tuple(size - each for size, each in zip(two(output_size), least, strict=True))
    if pair is None:
        y = F.conv_transpose2d(x, weight, bias, stride, 0, output_padding, groups, dilation)
        y = y[..., top : y.shape[-2] - bottom, left : y.shape[-1] - right]
    else:
        y = F.conv_transpose2d(x, weight, bias, stride, pair, output_padding, groups, dilation)
    return activated(y, activation)


# Pooling


def met(y: Tensor, x: Tensor, padding: Sides, stride: Pair) -> Tensor:
    """The windows that begin on the map or before it: where PyTorch gets a padded map, ceil_mode adds more."""
    counts = [ceil((h + before) / s) for h, (before, _), s in zip(x.shape[-2:], padding, stride, strict=True)]
    return y[..., : counts[0], : counts[1]]


def max_pool2d(
    x: Tensor,
    kernel_size: Two,
    *,
    stride: Two | None,
    padding: Any,
    dilation: Two,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    four, pair = sides(padding)
    windows = zip(pair or (), two(kernel_size), two(dilation), strict=False)
    wide = any(k < 2 * pad <= d * (k - 1) + 1 for pad, k, d in windows)  # PyTorch's limit forgets the dilation
    if pair is not None and not wide:
        return F.max_pool2d(x, kernel_size, stride, pair, dilation, ceil_mode, return_indices)
    steps, whole = two(kernel_size if stride is None else stride), padded(x, four, -inf)
    results = F.max_pool2d(whole, kernel_size, steps, 0, dilation, ceil_mode, return_indices=True)
    y, indices = (met(each, x, four, steps) for each in results)
    rows, columns = indices // whole.shape[-1] - four[0][0], indices % whole.shape[-1] - four[1][0]
    return (y, rows * x.shape[-1] + columns) if return_indices else y


def max_pool2d_offsets(
    x: Tensor, kernel_size: Two, *, stride: Two | None, padding: Any, dilation: Two, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    y, indices = max_pool2d(
        x,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        return_indices=True,
    )
    (sh, sw), (dh, dw) = two(kernel_size if stride is None else stride), two(dilation)
    ((top, _), (left, _)), _ = sides(padding)
    u = (indices // x.shape[-1] - torch.arange(y.shape[-2])[:, None] * sh + top) // dh
    v = (indices % x.shape[-1] - torch.arange(y.shape[-1]) * sw + left) // dw
    return y, u * two(kernel_size)[1] + v


def avg_pool2d(
    x: Tensor,
    kernel_size: Two,
    *,
    stride: Two | None,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    four, pair = sides(padding)
    if pair is not None:
        return F.avg_pool2d(x, kernel_size, stride, pair, ceil_mode, count_include_pad, divisor_override)
    steps = two(kernel_size if stride is None else stride)

    def pool(x: Tensor, divisor: int | None) -> Tensor:
        y = F.avg_pool2d(padded(x, four), kernel_size, steps, 0, ceil_mode, True, divisor)
        return met(y, x, four, steps)

    if count_include_pad or divisor_override is not None:
        return pool(x, divisor_override)
    return pool(x, 1) / pool(torch.ones_like(x), 1)


def max_unpool2d(
    x: Tensor, indices: Tensor, kernel_size: Two, *, stride: Two | None, padding: Any, output_size: Two | None
) -> Tensor:
    four, pair = sides(padding)
    if pair is not None:
        return F.max_unpool2d(x, indices, kernel_size, stride, pair, None if output_size is None else two(output_size))
    if output_size is None:
        window = zip(x.shape[-2:], two(kernel_size if stride is None else stride), four, two(kernel_size), strict=True)
        output_size = [(h - 1) * s - sum(pads) + k for h, s, pads, k in window]
    return torch.ops.aten.max_unpool2d(x, indices, two(output_size))


def unpool2d(x: Tensor, kernel_size: Two) -> Tensor:
    rows, columns = two(kernel_size)
    y = x.new_zeros(*x.shape[:-2], x.shape[-2] * rows, x.shape[-1] * columns)
    y[..., ::rows, ::columns] = x
    return y
