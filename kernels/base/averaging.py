"""Average pooling, tap after tap, and pooling of whole planes; sums and quotients are float64."""

from typing import Any

from ..layout import Shape
from ..namespace import namespace
from ..window import Pair, Sides
from .maps import meetings, pixels, planes


def avg_pool2d(
    x: Any,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    count_include_pad: bool,
    divisor_override: int | None,
    output_size: Pair,
) -> Any:
    """y[n,c,i,j] = (sum over u,v of x[n, c, i s - pad + u, j s - pad + v]) / divisor[i,j]."""
    x, xp = pixels(x), namespace(x)
    n, height, width, c = x.shape
    size = height, width
    total = xp.zeros((n, *output_size, c), "float64")
    for _, _, windows, places in meetings(size, output_size, kernel_size, stride, (padding[0][0], padding[1][0])):
        total[windows] += x[places]
    total /= _divisor(xp, size, output_size, kernel_size, stride, padding, count_include_pad, divisor_override)
    return planes(total).astype(x.dtype)


def avg_pool2d_input(
    input_shape: Shape,
    grad: Any,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    """dx[n,c,p,q] = sum of grad[n,c,i,j] / divisor[i,j] over the windows (i,j) that (p,q) is in."""
    grad, xp = pixels(grad), namespace(grad)
    n, c, height, width = input_shape
    size = height, width
    count = grad.shape[1:3]
    share = grad.astype("float64") / _divisor(
        xp, size, count, kernel_size, stride, padding, count_include_pad, divisor_override
    )
    dx = xp.zeros((n, *size, c), "float64")
    for _, _, windows, places in meetings(size, count, kernel_size, stride, (padding[0][0], padding[1][0])):
        dx[places] += share[windows]
    return planes(dx).astype(grad.dtype)


def _divisor(
    xp: Any,
    size: Pair,
    count: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    """What the sum of each window is divided by: (rows, columns, 1), float64, or a number."""
    if divisor_override is not None:
        return float(divisor_override)
    covered = []
    for axis in (0, 1):
        before, after = padding[axis]
        start = xp.arange(count[axis]) * stride[axis] - before
        low, high = (-before, size[axis] + after) if count_include_pad else (0, size[axis])
        covered.append(xp.minimum(start + kernel_size[axis], high) - xp.maximum(start, low))
    return (covered[0][:, None] * covered[1])[..., None].astype("float64")


def global_avg_pool2d(x: Any) -> Any:
    """y[n,c,0,0] = (sum over i,j of x[n,c,i,j]) / (H W)."""
    total = x.sum(axis=(2, 3), dtype="float64", keepdims=True)
    return (total / (x.shape[2] * x.shape[3])).astype(x.dtype)


def global_avg_pool2d_input(input_shape: Shape, grad: Any) -> Any:
    """dx[n,c,p,q] = grad[n,c,0,0] / (H W)."""
    share = (grad.astype("float64") / (input_shape[2] * input_shape[3])).astype(grad.dtype)
    return namespace(grad).broadcast_to(share, input_shape)


def global_max_pool2d(x: Any, *, return_indices: bool) -> Any:
    """The largest pixel of each plane, or the first NaN, and its position, the first of equal ones.

    It is found by comparison: which of several NaN an argmax names depends on the library.
    """
    xp, rows = namespace(x), pixels(x)
    n, height, width, c = rows.shape
    rows = rows.reshape(n, height * width, c)
    unknown = xp.isnan(rows)
    hit = xp.where(unknown.any(axis=1, keepdims=True), unknown, rows == rows.max(axis=1, keepdims=True))
    positions = xp.where(hit, xp.arange(height * width)[:, None], height * width)
    first = positions.min(axis=1, keepdims=True)
    y = xp.take_along_axis(rows, first, axis=1)
    results = (each.transpose(0, 2, 1)[..., None] for each in (y, first))
    return tuple(results)[: 1 + return_indices]


def global_max_pool2d_input(input_shape: Shape, indices: Any, grad: Any) -> Any:
    """dx[n, c, indices[n,c,0,0]] = grad[n,c,0,0], 0 elsewhere."""
    n, c, height, width = input_shape
    xp, indices = namespace(grad), pixels(indices).reshape(n, 1, c)
    won = xp.arange(height * width)[:, None] == indices
    dx = xp.where(won, pixels(grad).reshape(n, 1, c), grad.dtype.type(0))
    return planes(dx.reshape(n, height, width, c))
