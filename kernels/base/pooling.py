"""Max-pooling and its gradient: a fold over the taps of the window, row by row."""

from typing import Any

from ..layout import Shape
from ..namespace import namespace
from ..window import Pair, Sides
from .maps import meetings, pixels, planes

BYTE = 2**8  # taps that an offset in one byte counts


def max_pool2d(
    x: Any,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    output_size: Pair,
    return_indices: bool,
) -> Any:
    """y, or y and the positions of the winners in their planes."""
    window: dict[str, Any] = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
    }
    y, offsets = max_pool2d_offsets(x, **window, output_size=output_size)
    return (y, max_pool2d_indices(x.shape, offsets, **window)) if return_indices else (y,)


def max_pool2d_offsets(
    x: Any, *, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair, output_size: Pair
) -> tuple[Any, Any]:
    """The largest pixel under each window, and its tap u kw + v: of equal ones the first, of NaN too, which win.

    The winner to begin with is the first tap on the map, its value less than any: even where all are -inf none but a
    pixel wins.
    """
    x, xp = pixels(x), namespace(x)
    n, height, width, c = x.shape
    before = padding[0][0], padding[1][0]
    kind = "uint8" if kernel_size[0] * kernel_size[1] <= BYTE else "int32"
    u, v = (xp.maximum(0, -((xp.arange(output_size[a]) * stride[a] - before[a]) // dilation[a])) for a in (0, 1))
    y = xp.full((n, *output_size, c), -xp.inf, x.dtype)
    offsets = xp.empty(y.shape, kind)
    offsets[...] = (u[:, None] * kernel_size[1] + v)[..., None]
    for tap, right, windows, places in meetings((height, width), output_size, kernel_size, stride, before, dilation):
        value, largest = x[places], y[windows]
        wins = ~(value <= largest) & (largest == largest)  # one of them may be NaN
        y[windows] = xp.where(wins, value, largest)
        offsets[windows] = xp.where(wins, offsets.dtype.type(tap * kernel_size[1] + right), offsets[windows])
    return planes(y), planes(offsets)


def max_pool2d_indices(
    input_shape: Shape, offsets: Any, *, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair
) -> Any:
    """index[n,c,i,j] = (i s - pad + u d) W + j s - pad + v d, with u kw + v = offsets[n,c,i,j]."""
    xp, taps = namespace(offsets), pixels(offsets).astype("int64")
    rows, columns = (xp.arange(taps.shape[1 + a]) * stride[a] - padding[a][0] for a in (0, 1))
    rows = rows[:, None, None] + taps // kernel_size[1] * dilation[0]
    return planes(rows * input_shape[3] + columns[:, None] + taps % kernel_size[1] * dilation[1])


def max_pool2d_input(
    input_shape: Shape, offsets: Any, grad: Any, *, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair
) -> Any:
    """dx[n,c,p,q] = sum of grad[n,c,i,j] over the windows (i,j) whose winner is (p,q), in the order of their taps."""
    offsets, grad = pixels(offsets), pixels(grad)
    n, c, height, width = input_shape
    dx = namespace(grad).zeros((n, height, width, c), grad.dtype)
    before = padding[0][0], padding[1][0]
    for u, v, windows, places in meetings((height, width), grad.shape[1:3], kernel_size, stride, before, dilation):
        won = offsets[windows] == u * kernel_size[1] + v
        dx[places] += namespace(grad).where(won, grad[windows], grad.dtype.type(0))
    return planes(dx)
