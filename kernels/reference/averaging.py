"""Average pooling, and pooling of whole planes, from the definition."""

import numpy as np

from .arrays import Array, Pair, Shape, Sides, float64


def _windows(
    shape: Shape,
    output_size: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    count_include_pad: bool,
    divisor_override: int | None,
) -> tuple[list[tuple[Array, Array, Array]], Array]:
    """For each tap (rows, columns, which of them exist), and what each window's sum is divided by."""
    starts = [np.arange(output_size[axis]) * stride[axis] - padding[axis][0] for axis in (0, 1)]
    taps, counts = [], []
    for axis in (0, 1):
        before, after = padding[axis] if count_include_pad else (0, 0)
        low, high = -before, shape[2 + axis] + after
        counts.append(np.minimum(starts[axis] + kernel_size[axis], high) - np.maximum(starts[axis], low))
    for u in range(kernel_size[0]):
        for v in range(kernel_size[1]):
            rows, columns = starts[0][:, None] + u, starts[1][None, :] + v
            exists = (rows >= 0) & (rows < shape[2]) & (columns >= 0) & (columns < shape[3])
            taps.append((rows.clip(0, shape[2] - 1), columns.clip(0, shape[3] - 1), exists))
    divisor = counts[0][:, None] * counts[1] if divisor_override is None else np.full(output_size, divisor_override)
    return taps, divisor


def avg_pool2d(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    count_include_pad: bool,
    divisor_override: int | None,
    output_size: Pair,
) -> Array:
    """y[n,c,i,j] = sum over u,v of x[n, c, i*sh + u - top, j*sw + v - left] / divisor, over the pixels that exist.

    The divisor is how many pixels of the plane the window covers, those of the padding counted too where
    `count_include_pad` (but none beyond it), or `divisor_override`.
    """
    x = float64(x)
    taps, divisor = _windows(x.shape, output_size, kernel_size, stride, padding, count_include_pad, divisor_override)
    total = np.zeros((*x.shape[:2], *output_size))
    for rows, columns, exists in taps:
        total += np.where(exists, x[:, :, rows, columns], 0)
    return total / divisor


def avg_pool2d_input(
    input_shape: Shape,
    grad: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """dx[n, c, i*sh + u - top, j*sw + v - left] += grad[n,c,i,j] / divisor: the adjoint of `avg_pool2d`."""
    taps, divisor = _windows(
        input_shape, grad.shape[2:], kernel_size, stride, padding, count_include_pad, divisor_override
    )
    n, c = (np.arange(length)[:, None, None] for length in input_shape[:2])
    share = float64(grad) / divisor
    dx = np.zeros(input_shape)
    for rows, columns, exists in taps:
        np.add.at(dx, (n[:, None], c[None], rows, columns), np.where(exists, share, 0))
    return dx


def global_avg_pool2d(x: Array) -> Array:
    """y[n,c,0,0] = sum over i,j of x[n,c,i,j] / (H*W)."""
    return float64(x).sum(axis=(2, 3), keepdims=True) / (x.shape[2] * x.shape[3])


def global_avg_pool2d_input(input_shape: Shape, grad: Array) -> Array:
    """dx[n,c,p,q] = grad[n,c,0,0] / (H*W): the adjoint of `global_avg_pool2d`."""
    return np.broadcast_to(float64(grad) / (input_shape[2] * input_shape[3]), input_shape).copy()


def global_max_pool2d(x: Array) -> tuple[Array, Array]:
    """y[n,c,0,0] = max over i,j of x[n,c,i,j]; returns (y, indices), the winner's place flat in H*W.

    Ties go to the first in row-major order; NaN wins, the first NaN if several.
    """
    planes = float64(x).reshape(*x.shape[:2], -1)
    indices = planes.argmax(axis=2)[..., None]  # the first NaN, else the first of the largest
    return np.take_along_axis(planes, indices, axis=2)[..., None], indices[..., None].astype(np.int64)


def global_max_pool2d_input(input_shape: Shape, indices: Array, grad: Array) -> Array:
    """dx[n, c, indices[n,c,0,0]] = grad[n,c,0,0], 0 elsewhere: the adjoint of `global_max_pool2d`, its winner fixed."""
    n, c, h, w = input_shape
    dx = np.zeros((n, c, h * w))
    np.put_along_axis(dx, np.asarray(indices, dtype=np.int64)[..., 0], float64(grad)[..., 0], axis=2)
    return dx.reshape(input_shape)
