"""Pooling and unpooling, from the definition."""

import numpy as np

from .arrays import Array, Pair, Shape, Sides, float64


def max_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair, output_size: Pair
) -> tuple[Array, Array, Array]:
    """y[n,c,i,j] = max over u,v of x[n, c, i*sh + u*dh - top, j*sw + v*dw - left], over the pixels that exist.

    Returns (y, indices, offsets), all (N, C, *output_size): with the maximum, the winner's place in its plane, flat in
    H*W, and in its window, u*kw + v. Ties go to the first in row-major order; NaN wins, the first NaN if several.
    Padding is no member of a window: an index always points into the plane, even where all members are -inf.

    Raises ValueError when a window holds no pixel (its taps can step over a plane smaller than the dilation).
    """
    x = float64(x)
    height, width = x.shape[2:]
    shape = (*x.shape[:2], *output_size)
    y, indices, offsets = np.full(shape, -np.inf), np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
    for u in range(kernel_size[0]):
        for v in range(kernel_size[1]):
            rows = np.arange(output_size[0])[:, None] * stride[0] + u * dilation[0] - padding[0][0]
            columns = np.arange(output_size[1])[None, :] * stride[1] + v * dilation[1] - padding[1][0]
            exists = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            value = x[:, :, rows.clip(0, height - 1), columns.clip(0, width - 1)]
            wins = exists & ((offsets < 0) | (value > y) | (np.isnan(value) & ~np.isnan(y)))
            np.copyto(y, value, where=wins)
            np.copyto(indices, rows * width + columns, where=wins)
            np.copyto(offsets, u * kernel_size[1] + v, where=wins)
    if np.any(offsets < 0):
        plane = f"{height}x{width}"
        raise ValueError(f"max_pool2d: a window holds no pixel of the {plane} plane; use less padding or dilation")
    return y, indices, offsets


def max_pool2d_indices(
    input_shape: Shape, offsets: Array, *, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair
) -> Array:
    """index[n,c,i,j] = (i s + u d - top) W + j s + v d - left, with u kw + v = offsets[n,c,i,j]."""
    rows = np.arange(offsets.shape[2])[:, None] * stride[0] - padding[0][0]
    columns = np.arange(offsets.shape[3]) * stride[1] - padding[1][0]
    u, v = np.divmod(offsets.astype(np.int64), kernel_size[1])
    return (rows + u * dilation[0]) * input_shape[3] + columns + v * dilation[1]


def max_pool2d_input(
    input_shape: Shape, offsets: Array, grad: Array, *, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair
) -> Array:
    """dx[n, c, i*sh + u*dh - top, j*sw + v*dw - left] += grad[n,c,i,j], where offsets[n,c,i,j] = u*kw + v.

    The adjoint of `max_pool2d`, its winners held fixed; a winner in the padding adds nothing. Shapes: offsets and grad
    (N, C, H', W'); dx is `input_shape`.
    """
    n, c, i, j = np.ix_(*map(np.arange, grad.shape))
    u, v = np.divmod(np.asarray(offsets, dtype=np.int64), kernel_size[1])
    rows = i * stride[0] + u * dilation[0] - padding[0][0]
    columns = j * stride[1] + v * dilation[1] - padding[1][0]
    exists = (rows >= 0) & (rows < input_shape[2]) & (columns >= 0) & (columns < input_shape[3])
    dx = np.zeros(input_shape)
    if exists.any():
        rows, columns = rows.clip(0, input_shape[2] - 1), columns.clip(0, input_shape[3] - 1)
        np.add.at(dx, (n, c, rows, columns), np.where(exists, float64(grad), 0))
    return dx


def _flat_indices(function: str, indices: Array, pixels: int) -> Array:
    """The indices as (N, C, H*W), or IndexError."""
    if indices.size and (indices.min() < 0 or indices.max() >= pixels):
        raise IndexError(f"{function}: indices must lie in 0..{pixels - 1}, got {indices.min()} to {indices.max()}")
    n, c, h, w = indices.shape
    return np.asarray(indices, dtype=np.int64).reshape(n, c, h * w)


def max_unpool2d(x: Array, indices: Array, *, output_size: Pair) -> Array:
    """y[n, c, indices[n,c,i,j]] = x[n,c,i,j] with the plane of y flat in row-major order, 0 elsewhere.

    Of duplicate indices in a plane the last in row-major order wins. An index outside the plane raises IndexError.

    Shapes: x and indices (N, C, h, w); y (N, C, *output_size).
    Source: Zeiler & Fergus 2014, section 2.1 ("switches"); Noh, Hong & Han 2015, section 3.2.1.
    """
    n, c, h, w = x.shape
    height, width = output_size
    targets = _flat_indices("max_unpool2d", indices, height * width)
    values = float64(x).reshape(n, c, h * w)
    y = np.zeros((n, c, height * width))
    planes = np.ix_(np.arange(n), np.arange(c))
    for k in range(h * w):  # one at a time: NumPy leaves open which of several assignments to one element comes last
        y[*planes, targets[..., k]] = values[..., k]
    return y.reshape(n, c, height, width)


def max_unpool2d_input(grad: Array, indices: Array) -> Array:
    """dx[n,c,i,j] = grad[n, c, indices[n,c,i,j]], or 0 where a later duplicate of that index overwrote x[n,c,i,j].

    The adjoint of `max_unpool2d` in x. Shapes: grad (N, C, H, W), indices and dx (N, C, h, w).
    """
    n, c, h, w = indices.shape
    pixels = grad.shape[2] * grad.shape[3]
    sources = _flat_indices("max_unpool2d_input", indices, pixels)
    remaining = float64(grad).reshape(n, c, pixels).copy()
    dx = np.zeros((n, c, h * w))
    planes = np.ix_(np.arange(n), np.arange(c))
    for k in reversed(range(h * w)):  # the assignments of max_unpool2d undone, the last one first
        dx[..., k] = remaining[*planes, sources[..., k]]
        remaining[*planes, sources[..., k]] = 0
    return dx.reshape(n, c, h, w)


def unpool2d(x: Array, *, kernel_size: Pair) -> Array:
    """y[n, c, i*kh, j*kw] = x[n,c,i,j], 0 elsewhere. Shapes: x (N, C, h, w); y (N, C, h*kh, w*kw).

    Source: Dosovitskiy, Springenberg & Brox 2015, section 3.2.
    """
    n, c, h, w = x.shape
    y = np.zeros((n, c, h * kernel_size[0], w * kernel_size[1]))
    y[:, :, :: kernel_size[0], :: kernel_size[1]] = x
    return y


def unpool2d_input(grad: Array, *, kernel_size: Pair) -> Array:
    """dx[n,c,i,j] = grad[n, c, i*kh, j*kw]: the adjoint of `unpool2d`."""
    return float64(grad[:, :, :: kernel_size[0], :: kernel_size[1]])
