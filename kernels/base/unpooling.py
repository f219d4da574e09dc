"""Unpooling, at remembered positions and at a fixed one.

Of values that go to the same pixel the last in row-major order stays. An assignment leaves open which does, so for each
pixel the largest number of a value that goes there is found first: a maximum of integers is the same in any order.
"""

from collections.abc import Iterator
from typing import Any

from ..namespace import namespace
from ..window import Pair
from .maps import pixels, planes

MOST = 2**31 - 1  # pixels that CuPy scatters to at once: it counts them in int32


def max_unpool2d(x: Any, indices: Any, found: Any, *, output_size: Pair) -> Any:
    """y[n, c, indices[n,c,i,j]] = x[n,c,i,j] for the last such pixel, 0 elsewhere. found: not needed here."""
    x, indices, xp = pixels(x), pixels(indices), namespace(x)
    n, height, width, c = x.shape
    y = xp.zeros((n, *output_size, c), x.dtype)
    for images in _several(n, output_size[0] * output_size[1] * c):
        values = x[images]
        last, _, _ = _winners(indices[images], output_size)
        channel = xp.arange(last.size) % c
        image = xp.arange(last.size) // (output_size[0] * output_size[1] * c) * (height * width)
        source = (image + xp.maximum(last.astype("int64"), 1) - 1) * c + channel
        y[images] = xp.where(last > 0, values.reshape(-1)[source], x.dtype.type(0)).reshape(y[images].shape)
    return planes(y)


def max_unpool2d_input(grad: Any, indices: Any, found: Any) -> Any:
    """dx[n,c,i,j] = grad[n, c, indices[n,c,i,j]] where x[n,c,i,j] stayed, else 0. found: not needed here."""
    grad, indices, xp = pixels(grad), pixels(indices), namespace(grad)
    n, height, width, c = grad.shape
    dx = xp.zeros(indices.shape, grad.dtype)
    for images in _several(n, height * width * c):
        last, targets, numbers = _winners(indices[images], (height, width))
        stayed = last[targets] == numbers
        dx[images] = xp.where(stayed, grad[images].reshape(-1)[targets], grad.dtype.type(0))
    return planes(dx)


def _several(images: int, numbers: int) -> Iterator[slice]:
    """As many images at a time as have MOST numbers together, or one."""
    step = max(1, MOST // max(1, numbers))
    return (slice(first, first + step) for first in range(0, images, step))


def _winners(indices: Any, size: Pair) -> tuple[Any, Any, Any]:
    """last, targets, numbers: pixel t, of all there are, keeps the value of number last[t], of none where that is 0.

    Value [n,i,j,c] has the number i w + j + 1 and goes to pixel targets[n,i,j,c], both (n, h, w, c).
    """
    xp = namespace(indices)
    n, height, width, c = indices.shape
    image = xp.arange(n)[:, None, None, None] * (size[0] * size[1])
    targets = (image + indices) * c + xp.arange(c)
    numbers = xp.arange(1, height * width + 1, dtype="uint32").reshape(height, width, 1)
    numbers = xp.broadcast_to(numbers, indices.shape)
    last = xp.zeros(n * size[0] * size[1] * c, "uint32")
    xp.maximum.at(last, targets, numbers)
    return last, targets, numbers


def unpool2d(x: Any, *, kernel_size: Pair) -> Any:
    """y[n, c, i kh, j kw] = x[n,c,i,j], 0 elsewhere."""
    x = pixels(x)
    n, height, width, c = x.shape
    y = namespace(x).zeros((n, height * kernel_size[0], width * kernel_size[1], c), x.dtype)
    y[:, :: kernel_size[0], :: kernel_size[1]] = x
    return planes(y)


def unpool2d_input(grad: Any, *, kernel_size: Pair) -> Any:
    """dx[n,c,i,j] = grad[n, c, i kh, j kw]: a view of it."""
    return grad[:, :, :: kernel_size[0], :: kernel_size[1]]
