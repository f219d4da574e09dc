"""Convolution, transposed convolution and their adjoints, from the definition."""

import numpy as np

from .arrays import Array, Pair, Shape, Sides, float64
from .pointwise import relu


def _taps(kernel_size: Pair, stride: Pair, dilation: Pair, positions: Pair) -> list[tuple[int, int, slice, slice]]:
    """(u, v, rows, columns): where tap (u, v) of the window meets the plane, for all positions (i, j).

    That is row i*sh + u*dh, column j*sw + v*dw of the padded plane.
    """
    rows, columns = (
        [slice(tap * d, tap * d + max((n - 1) * s + 1, 0), s) for tap in range(k)]
        for k, s, d, n in zip(kernel_size, stride, dilation, positions, strict=True)
    )
    return [(u, v, rows[u], columns[v]) for u in range(kernel_size[0]) for v in range(kernel_size[1])]


def _split(array: Array, axis: int, groups: int) -> Array:
    """Split an axis of channels in two: (groups, channels per group)."""
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def _merge(array: Array, axis: int) -> Array:
    """Undo `_split`: join the axes (groups, channels per group) at `axis`."""
    shape = array.shape
    return np.ascontiguousarray(array).reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])


def _pad(array: Array, padding: Sides) -> Array:
    """Zeros around each plane."""
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + list(padding))


def _crop(array: Array, padding: Sides) -> Array:
    """Cut from each plane what `_pad` adds."""
    (top, bottom), (left, right) = padding
    height, width = array.shape[-2:]
    return array[..., top : height - bottom, left : width - right]


def _epilogue(y: Array, bias: Array | None, activation: str | None) -> Array:
    """activation(y[n,o,i,j] + bias[o])."""
    if bias is not None:
        y = y + float64(bias)[:, None, None]
    return relu(y) if activation == "relu" else y


# Convolution and its two adjoints. The three loops differ only in which of (input, weight, output) is the unknown.


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    activation: str | None,
) -> Array:
    """y[n,o,i,j] = bias[o] + sum over c,u,v of weight[o,c,u,v] * x[n, c, i*sh + u*dh - top, j*sw + v*dw - left].

    x is 0 outside its plane; output channel o reads the input channels of its group. Cross-correlation, as in PyTorch.

    Shapes: x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,) or None; y (N, O, H', W') with
    H' = (H + top + bottom - dh*(kh - 1) - 1) // sh + 1.
    Source: Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning", relation 6 and section 5.1.
    """
    padded = _split(_pad(float64(x), padding), 1, groups)
    kernels = _split(float64(weight), 0, groups)
    size, kernel_size = padded.shape[-2:], kernels.shape[-2:]
    height, width = ((size[a] - dilation[a] * (kernel_size[a] - 1) - 1) // stride[a] + 1 for a in (0, 1))
    y = np.zeros((x.shape[0], *kernels.shape[:2], height, width))
    for u, v, rows, columns in _taps(kernel_size, stride, dilation, (height, width)):
        y += np.einsum("goc,ngcij->ngoij", kernels[..., u, v], padded[..., rows, columns])
    return _epilogue(_merge(y, 1), bias, activation)


def conv2d_input(
    input_shape: Shape, weight: Array, grad: Array, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Array:
    """dx[n, c, i*sh + u*dh - top, j*sw + v*dw - left] += weight[o,c,u,v] * grad[n,o,i,j], summed over o,i,j,u,v.

    The adjoint of `conv2d` in x. Pixels that no window reaches get 0; what falls on the padding is dropped.

    Shapes: weight (O, C/groups, kh, kw), grad (N, O, H', W'); dx is `input_shape`, (N, C, H, W).
    """
    grads = _split(float64(grad), 1, groups)
    kernels = _split(float64(weight), 0, groups)
    padded = _split(_pad(np.zeros(input_shape), padding), 1, groups)
    for u, v, rows, columns in _taps(kernels.shape[-2:], stride, dilation, grads.shape[-2:]):
        padded[..., rows, columns] += np.einsum("goc,ngoij->ngcij", kernels[..., u, v], grads)
    return _merge(_crop(padded, padding), 1)


def conv2d_weight(
    x: Array, weight_shape: Shape, grad: Array, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Array:
    """dweight[o,c,u,v] = sum over n,i,j of grad[n,o,i,j] * x[n, c, i*sh + u*dh - top, j*sw + v*dw - left].

    The adjoint of `conv2d` in its weight.

    Shapes: x (N, C, H, W), grad (N, O, H', W'); dweight is `weight_shape`, (O, C/groups, kh, kw).
    """
    padded = _split(_pad(float64(x), padding), 1, groups)
    grads = _split(float64(grad), 1, groups)
    kernels = _split(np.zeros(weight_shape), 0, groups)
    for u, v, rows, columns in _taps(kernels.shape[-2:], stride, dilation, grads.shape[-2:]):
        kernels[..., u, v] = np.einsum("ngoij,ngcij->goc", grads, padded[..., rows, columns])
    return _merge(kernels, 0)


# Transposed convolution: every input pixel paints one kernel, the paintings are summed, then the border is cropped.


def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair,
    padding: Sides,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
    activation: str | None,
) -> Array:
    """y[n, o, i*sh + u*dh - top, j*sw + v*dw - left] += weight[c,o,u,v] * x[n,c,i,j], summed over c,i,j,u,v.

    The sum of shifted kernels, extended by `output_padding` rows below and columns to the right (no kernel reaches them
    before cropping), cropped by `padding`; the bias is added everywhere, the activation comes last.

    Shapes: x (N, C, H, W), weight (C, O/groups, kh, kw), bias (O,) or None; y (N, O, H', W') with
    H' = (H - 1)*sh + dh*(kh - 1) + 1 + output_padding - top - bottom.
    Source: Dumoulin & Visin 2016, chapter 4; as learned upsampling: Long, Shelhamer & Darrell 2015, section 3.3.
    """
    pixels = _split(float64(x), 1, groups)
    kernels = _split(float64(weight), 0, groups)
    size, kernel_size = pixels.shape[-2:], kernels.shape[-2:]
    height, width = (
        (size[a] - 1) * stride[a] + dilation[a] * (kernel_size[a] - 1) + 1 + output_padding[a] for a in (0, 1)
    )
    canvas = np.zeros((x.shape[0], groups, kernels.shape[2], height, width))
    for u, v, rows, columns in _taps(kernel_size, stride, dilation, size):
        canvas[..., rows, columns] += np.einsum("gco,ngcij->ngoij", kernels[..., u, v], pixels)
    return _epilogue(_merge(_crop(canvas, padding), 1), bias, activation)


def conv_transpose2d_input(
    input_shape: Shape, weight: Array, grad: Array, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Array:
    """dx[n,c,i,j] = sum over o,u,v of weight[c,o,u,v] * grad[n, o, i*sh + u*dh - top, j*sw + v*dw - left].

    The adjoint of `conv_transpose2d` in x; grad is 0 where it was cropped.

    Shapes: weight (C, O/groups, kh, kw), grad (N, O, H', W'); dx is `input_shape`, (N, C, H, W).
    """
    canvas = _split(_pad(float64(grad), padding), 1, groups)
    kernels = _split(float64(weight), 0, groups)
    pixels = _split(np.zeros(input_shape), 1, groups)
    for u, v, rows, columns in _taps(kernels.shape[-2:], stride, dilation, pixels.shape[-2:]):
        pixels += np.einsum("gco,ngoij->ngcij", kernels[..., u, v], canvas[..., rows, columns])
    return _merge(pixels, 1)


def conv_transpose2d_weight(
    x: Array, weight_shape: Shape, grad: Array, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Array:
    """dweight[c,o,u,v] = sum over n,i,j of x[n,c,i,j] * grad[n, o, i*sh + u*dh - top, j*sw + v*dw - left].

    The adjoint of `conv_transpose2d` in its weight; grad is 0 where it was cropped.

    Shapes: x (N, C, H, W), grad (N, O, H', W'); dweight is `weight_shape`, (C, O/groups, kh, kw).
    """
    pixels = _split(float64(x), 1, groups)
    canvas = _split(_pad(float64(grad), padding), 1, groups)
    kernels = _split(np.zeros(weight_shape), 0, groups)
    for u, v, rows, columns in _taps(kernels.shape[-2:], stride, dilation, pixels.shape[-2:]):
        kernels[..., u, v] = np.einsum("ngcij,ngoij->gco", pixels, canvas[..., rows, columns])
    return _merge(kernels, 0)
