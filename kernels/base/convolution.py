"""Convolution and its adjoints: the pixels under each window laid out as a row of a matrix, then one product.

With columns X (windows, taps and channels) of x and the weight as a matrix W, `conv2d` is X W, its gradient for the
weight X' g, and that for the input g W', whose rows are added to the pixels they stand for, tap after tap, so that the
order of the sums is fixed. Loops over taps with a product for each would need no X, but read and write the result once
for each tap, in many more launches; X is made and used in pieces of bounded memory. It is no copy where a window is one
pixel of dense memory: a convolution of 1x1 is one product of matrices as they lie.

Where each group has one channel on both sides (depthwise), there is nothing to multiply matrices for: one
multiplication and one addition for each tap.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

from ..layout import Shape
from ..namespace import namespace
from ..window import Pair, Sides
from .linear import finished
from .maps import meetings, pixels, planes
from .products import matmul

PIECE = 2**29  # bytes of X at a time


def conv2d(
    x: Any,
    weight: Any,
    bias: Any,
    *,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    activation: str | None,
) -> Any:
    """y[n,k,i,j] = f(bias[k] + sum over c,u,v of weight[k,c,u,v] x[n, c, i s - pad + u d, j s - pad + v d])."""
    rows, columns = (
        (x.shape[2 + a] + sum(padding[a]) - dilation[a] * (weight.shape[2 + a] - 1) - 1) // stride[a] + 1
        for a in (0, 1)
    )
    y = _gathered(x, weight, (rows, columns), stride, padding, dilation, groups)
    return planes(finished(y, bias, activation))


def conv2d_input(
    input_shape: Shape, weight: Any, grad: Any, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Any:
    """dx[n,c,p,q] = sum over k,u,v with p = i s - pad + u d, q = j s - pad + v d of weight[k,c,u,v] grad[n,k,i,j]."""
    size = input_shape[2], input_shape[3]
    return planes(_spread(grad, weight, size, stride, padding, dilation, groups))


def conv2d_weight(
    x: Any, weight_shape: Shape, grad: Any, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Any:
    """dweight[k,c,u,v] = sum over n,i,j of grad[n,k,i,j] x[n, c, i s - pad + u d, j s - pad + v d]."""
    return _correlated(x, grad, weight_shape, stride, padding, dilation, groups)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any,
    *,
    stride: Pair,
    padding: Sides,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
    activation: str | None,
) -> Any:
    """y[n,k,p,q] = f(bias[k] + sum over c,u,v with p = i s - pad + u d, ... of weight[c,k,u,v] x[n,c,i,j])."""
    rows, columns = (
        (x.shape[2 + a] - 1) * stride[a]
        + dilation[a] * (weight.shape[2 + a] - 1)
        + 1
        + output_padding[a]
        - sum(padding[a])
        for a in (0, 1)
    )
    y = _spread(x, weight, (rows, columns), stride, padding, dilation, groups)
    return planes(finished(y, bias, activation))


def conv_transpose2d_input(
    input_shape: Shape, weight: Any, grad: Any, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Any:
    """dx[n,c,i,j] = sum over k,u,v of weight[c,k,u,v] grad[n, k, i s - pad + u d, j s - pad + v d]."""
    size = input_shape[2], input_shape[3]
    return planes(_gathered(grad, weight, size, stride, padding, dilation, groups))


def conv_transpose2d_weight(
    x: Any, weight_shape: Shape, grad: Any, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Any:
    """dweight[c,k,u,v] = sum over n,i,j of x[n,c,i,j] grad[n, k, i s - pad + u d, j s - pad + v d]."""
    return _correlated(grad, x, weight_shape, stride, padding, dilation, groups)


# Below, maps are (N, H, W, channels); windows slide over one with `weight.shape[1] * groups` channels, and what stands
# for each window has weight.shape[0].


def _gathered(x: Any, weight: Any, count: Pair, stride: Pair, padding: Sides, dilation: Pair, groups: int) -> Any:
    """For each of `count` windows the sum of its pixels times the weight."""
    xp = namespace(x)
    windows = _windows(x, weight.shape[2:], count, stride, padding, dilation, groups)
    if _depthwise(weight.shape, groups):
        y = xp.zeros((*windows.shape[:3], groups), x.dtype)
        for u in range(weight.shape[2]):
            for v in range(weight.shape[3]):
                y += windows[:, :, :, u, v, :, 0] * weight[:, 0, u, v]
        return y
    matrix = _matrix(weight, groups)
    parts = [_joined(_product(_columns(windows[piece]), matrix)) for piece in _pieces(windows.shape, x.itemsize)]
    y = parts[0] if len(parts) == 1 else xp.concatenate(parts)
    return y.reshape(*windows.shape[:3], weight.shape[0])


def _spread(grad: Any, weight: Any, size: Pair, stride: Pair, padding: Sides, dilation: Pair, groups: int) -> Any:
    """For each pixel of maps of `size` the sum over the windows it is in."""
    grad, kernel = pixels(grad), weight.shape[2:]
    n, height, width, _ = grad.shape
    dx = namespace(grad).zeros((n, *size, groups, weight.shape[1]), grad.dtype)
    (top, _), (left, _) = padding
    if _depthwise(weight.shape, groups):
        for u, v, windows, places in meetings(size, (height, width), kernel, stride, (top, left), dilation):
            dx[places] += (grad[windows] * weight[:, 0, u, v])[..., None]
        return dx.reshape(n, *size, groups)
    turned = _matrix(weight, groups).transpose(0, 2, 1)
    shape = n, height, width, *kernel, groups, weight.shape[1]
    for images, rows in _pieces(shape, grad.itemsize):
        part, piece = dx[images], grad[images, rows]
        columns = _product(_split(piece, groups), turned)
        columns = columns.reshape(groups, *piece.shape[:3], *kernel, weight.shape[1]).transpose(1, 2, 3, 4, 5, 0, 6)
        before = top - (rows.start or 0) * stride[0], left
        for u, v, windows, places in meetings(size, (piece.shape[1], width), kernel, stride, before, dilation):
            part[places] += columns[windows][:, :, :, u, v]
    return dx.reshape(n, *size, groups * weight.shape[1])


def _correlated(
    x: Any, grad: Any, weight_shape: Shape, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Any:
    """The sum over windows of each of their pixels times each number that stands for the window."""
    grad = pixels(grad)
    k, c, kh, kw = weight_shape
    windows = _windows(x, (kh, kw), grad.shape[1:3], stride, padding, dilation, groups)
    dw = namespace(x).zeros((groups, kh * kw * c, k // groups), x.dtype)
    if _depthwise(weight_shape, groups):
        for tap in range(kh * kw):
            dw[:, tap, 0] = (windows[:, :, :, tap // kw, tap % kw, :, 0] * grad).sum(axis=(0, 1, 2))
    else:
        for piece in _pieces(windows.shape, x.itemsize):
            dw += _product(_columns(windows[piece]).transpose(0, 2, 1), _split(grad[piece], groups))
    return dw.reshape(groups, kh, kw, c, k // groups).transpose(0, 4, 3, 1, 2).reshape(weight_shape)


def _depthwise(weight_shape: Shape, groups: int) -> bool:
    return weight_shape[0] == groups and weight_shape[1] == 1


def _windows(x: Any, kernel: Pair, count: Pair, stride: Pair, padding: Sides, dilation: Pair, groups: int) -> Any:
    """(N, rows, columns, kh, kw, groups, channels of each): a view of x with zeros around it."""
    x, xp = pixels(x), namespace(x)
    n, height, width, channels = x.shape
    (top, bottom), (left, right) = padding
    if any((top, bottom, left, right)):
        padded = xp.zeros((n, top + height + bottom, left + width + right, channels), x.dtype)
        padded[:, top : top + height, left : left + width] = x
        x = padded
    image, row, pixel, one = x.strides
    per_group = channels // groups
    shape = n, *count, *kernel, groups, per_group
    steps = row * stride[0], pixel * stride[1], row * dilation[0], pixel * dilation[1]
    return xp.lib.stride_tricks.as_strided(x, shape, (image, *steps, per_group * one, one))


def _pieces(shape: Shape, itemsize: int) -> Iterator[tuple[slice, slice]]:
    """(images, rows) that cut the windows of `shape`, in their order, into pieces of PIECE bytes or one row."""
    n, height, *row = shape
    bytes_of_row = prod(row) * itemsize
    if n * height * bytes_of_row <= PIECE:
        yield slice(None), slice(None)
    elif height * bytes_of_row <= PIECE:
        step = PIECE // (height * bytes_of_row)
        yield from ((slice(i, i + step), slice(None)) for i in range(0, n, step))
    else:
        step = max(1, PIECE // bytes_of_row)
        yield from ((slice(i, i + 1), slice(r, r + step)) for i in range(n) for r in range(0, height, step))


def _columns(windows: Any) -> Any:
    """(groups, windows, taps and channels): X, of each group."""
    n, height, width, kh, kw, groups, channels = windows.shape
    return windows.transpose(5, 0, 1, 2, 3, 4, 6).reshape(groups, n * height * width, kh * kw * channels)


def _matrix(weight: Any, groups: int) -> Any:
    """(groups, taps and channels, filters of each): W, of each group."""
    k, c, kh, kw = weight.shape
    return (
        weight.reshape(groups, k // groups, c, kh, kw)
        .transpose(0, 3, 4, 2, 1)
        .reshape(groups, kh * kw * c, k // groups)
    )


def _product(a: Any, b: Any) -> Any:
    """The products of the groups' matrices. One group is two plain matrices, which CuPy takes turned as they are."""
    return matmul(a[0], b[0])[None] if len(a) == 1 else matmul(a, b)


def _split(grad: Any, groups: int) -> Any:
    """(groups, windows, filters of each) from (N, rows, columns, filters)."""
    n, height, width, filters = grad.shape
    return grad.reshape(n * height * width, groups, filters // groups).transpose(1, 0, 2)


def _joined(products: Any) -> Any:
    """(windows, filters) from (groups, windows, filters of each)."""
    groups, count, filters = products.shape
    return products.transpose(1, 0, 2).reshape(count, groups * filters)
