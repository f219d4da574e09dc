"""Max-unpooling and its gradient on channels-last maps.

Where every index lies in a block of its own, as pooling with a stride no less than the kernel leaves them, each pixel
of the result looks at the one index that could name it, and nothing is scattered.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import uint64
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..layout import Array
from ..window import Pair
from .channels import PAIR, ahead, bands, block, over_blocks, over_taps, splat, staged
from .jit import VIEWS, claim, integers, kernel
from .parallel import SMALL, run, strided
from .scattering import scatter, take
from .stream import write
from .vector import Words

AHEAD = 8  # blocks from those that are looked at to those that are asked for
INDEX = np.dtype(np.int64)
HIGHEST = 8  # rows of a block that is looked for


def _blocks(indices: Array, size: Pair) -> Pair:
    """(rows, columns) of the blocks that would divide a plane of `size` among the indices."""
    return round(size[0] / max(1, indices.shape[2])), round(size[1] / max(1, indices.shape[3]))


def survey(indices: Array, size: Pair) -> Array:
    """(N, H, 3): of each row of each image the least and the largest index, and 1 where all lie in their own blocks.

    indices: int64, channels-last. size: of the planes they point into.
    """
    n, c, h, w = indices.shape
    found = np.zeros((n, h, 3), INDEX)
    items, band = bands(n * h if c * w else 0)
    run(
        _survey(),
        items,
        band,
        strided(indices),
        (c, h, w, size[1]),
        _blocks(indices, size),
        found.ctypes.data,
        small=indices.nbytes < SMALL,
    )
    return found


@cache
def _survey() -> Any:
    @kernel("index_survey")
    def survey(work, scratch, count, band, indices, shape, block, found):  # type: ignore[no-untyped-def]
        channels, rows, columns, width = shape
        item = claim(work)
        while item < count:
            for row in range(item * band[1], min(band[0], (item + 1) * band[1])):
                n, i = row // rows, row % rows
                at = indices[0] + n * indices[1] + i * indices[2]
                low = high = integers(at, 1)[0]
                near = 0
                for j in range(columns):
                    index = integers(at + j * indices[3], channels)
                    for c in range(channels):
                        low, high = min(low, index[c]), max(high, index[c])
                    broad = uint64(max(0, min(block[1], width - j * block[1])))
                    for p in range(i * block[0], (i + 1) * block[0] if block[0] <= HIGHEST else 0):
                        first = p * width + j * block[1]
                        for c in range(channels):
                            near += 1 if uint64(index[c] - first) < broad else 0
                result = integers(found + row * 24, 3)
                result[0], result[1], result[2] = low, high, 1 if near == channels * columns else 0
            item = claim(work)

    return survey


def max_unpool(outputs: list[Array], x: Array, indices: Array, found: Array, *, output_size: Pair) -> None:
    """max_unpool2d."""
    y = outputs[0]
    n, c, h, w = x.shape
    if not x.size or not found[..., 2].all():
        scatter(y, x, indices, found)
        return
    blocks, (pixels, stream) = _blocks(indices, output_size), staged(y)
    items, band = bands(n * output_size[0], blocks[0])
    run(
        _gathered(x.dtype, block(c, x.dtype)),
        items,
        band,
        y.ctypes.data,
        strided(x),
        strided(indices),
        (c, h, w, *output_size),
        blocks,
        (pixels, stream),
        scratch=pixels * c * x.itemsize,
        small=y.nbytes < SMALL,
    )


@cache
def _named(dtype: np.dtype, lanes: int) -> Any:
    """y[c] = x[c] where index[c] is `here`, else 0. An intrinsic (y, x, index, channels, here), the first three
    addresses.
    """

    @intrinsic
    def emitted(typing_context, y, x, index, channels, here):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, x, index, channels, here = arguments
            words, positions = Words(builder, dtype, lanes), Words(builder, INDEX, lanes)

            def body(c: Any) -> None:
                offset = builder.mul(c, words.integer(words.size))
                position = positions.load(builder.add(index, builder.mul(c, words.integer(8))))
                named = builder.icmp_signed("==", position, splat(words, here))
                value = builder.select(named, words.load(builder.add(x, offset)), words.zero())
                words.store(value, builder.add(y, offset))

            over_blocks(words, channels, body)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), emit

    return emitted


@cache
def _gathered(dtype: np.dtype, lanes: int) -> Any:
    view, size, named, write_y = VIEWS[dtype.name], dtype.itemsize, _named(dtype, lanes), write(dtype)

    @kernel(f"max_unpool_blocks-{dtype}x{lanes}")
    def max_unpool(work, scratch, count, band, y, x, indices, shape, block, stage):  # type: ignore[no-untyped-def]
        channels, rows, columns, height, width = shape
        pixels, stream = stage
        item = claim(work)
        while item < count:
            for row in range(item * band[1], min(band[0], (item + 1) * band[1])):
                n, p = row // height, row % height
                i = p // block[0]
                for start in range(0, width, pixels):
                    some = min(pixels, width - start)
                    result = y + (row * width + start) * channels * size
                    target = scratch if stream else result
                    j, next_block = start // block[1], (start // block[1] + 1) * block[1]
                    for q in range(start, start + some):
                        if q == next_block:
                            j, next_block = j + 1, next_block + block[1]
                        at = target + (q - start) * channels * size
                        if i < rows and j < columns:
                            named(
                                at,
                                x[0] + n * x[1] + i * x[2] + j * x[3],
                                indices[0] + n * indices[1] + i * indices[2] + j * indices[3],
                                channels,
                                p * width + q,
                            )
                        else:
                            view(at, channels)[:] = 0
                    if stream:
                        if i < rows and j < columns and p == i * block[0]:
                            most = min(columns - j, pixels // block[1] + 1) * channels
                            ahead(x[0] + n * x[1] + i * x[2] + j * x[3], most * size)
                            ahead(indices[0] + n * indices[1] + i * indices[2] + j * indices[3], most * 8)
                        write_y(result, target, some * channels, 1)
            item = claim(work)

    return max_unpool


def max_unpool_input(outputs: list[Array], grad: Array, indices: Array, found: Array) -> None:
    """max_unpool2d_input."""
    dx = outputs[0]
    n, c, h, w = indices.shape
    if not found[..., 2].all():
        take(dx, grad, indices, found)
        return
    pixels, stream = staged(dx)
    items, band = bands(n * h)
    run(
        _looked_up(grad.dtype, block(c, grad.dtype)),
        items,
        band,
        dx.ctypes.data,
        strided(grad),
        strided(indices),
        (c, h, w, *grad.shape[2:]),
        _blocks(indices, (grad.shape[2], grad.shape[3])),
        (pixels, stream),
        scratch=pixels * c * grad.itemsize,
        small=grad.nbytes < SMALL,
    )


@cache
def _chosen(dtype: np.dtype, lanes: int) -> Any:
    """y[c] = x[c] of the pixel that index[c] names, among those of a block.

    An intrinsic (y, x, index, channels, counts, steps, here, here_steps): addresses, x that of the block's first pixel;
    rows and columns of the block; bytes between its pixels; the index of the first, and what is added to it.
    """

    @intrinsic
    def emitted(typing_context, y, x, index, channels, counts, steps, here, here_steps):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, x, index, channels, counts, steps, here, here_steps = arguments
            counts, steps, here_steps = (cgutils.unpack_tuple(builder, pair) for pair in (counts, steps, here_steps))
            words, positions = Words(builder, dtype, lanes), Words(builder, INDEX, lanes)

            def body(c: Any) -> None:
                offset = builder.mul(c, words.integer(words.size))
                position = positions.load(builder.add(index, builder.mul(c, words.integer(8))))

                def pixel(at: list[Any], value: Any) -> list[Any]:
                    named = builder.icmp_signed("==", position, splat(words, at[1]))
                    return [builder.select(named, words.load(at[0]), value)]

                starts = [builder.add(x, offset), here]
                value = over_taps(words, counts, starts, [steps, here_steps], [words.zero()], pixel)[0]
                words.store(value, builder.add(y, offset))

            over_blocks(words, channels, body)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4, PAIR, PAIR, types.intp, PAIR), emit

    return emitted


@cache
def _looked_up(dtype: np.dtype, lanes: int) -> Any:
    size, chosen, write_dx = dtype.itemsize, _chosen(dtype, lanes), write(dtype)

    @kernel(f"max_unpool_input_blocks-{dtype}x{lanes}")
    def max_unpool_input(work, scratch, count, band, dx, grad, indices, shape, block, stage):  # type: ignore[no-untyped-def]
        channels, rows, columns, height, width = shape
        pixels, stream = stage
        item = claim(work)
        while item < count:
            for row in range(item * band[1], min(band[0], (item + 1) * band[1])):
                n, i = row // rows, row % rows
                p = i * block[0]
                for start in range(0, columns, pixels):
                    some = min(pixels, columns - start)
                    result = dx + (row * columns + start) * channels * size
                    target = scratch if stream else result
                    for j in range(start, start + some):
                        q = j * block[1]
                        if stream:
                            ahead(indices[0] + n * indices[1] + i * indices[2] + (j + AHEAD) * indices[3], channels * 8)
                            for below in range(block[0]):
                                line = grad[0] + n * grad[1] + (p + below) * grad[2] + (q + AHEAD * block[1]) * grad[3]
                                ahead(line, block[1] * channels * size)
                        chosen(
                            target + (j - start) * channels * size,
                            grad[0] + n * grad[1] + p * grad[2] + q * grad[3],
                            indices[0] + n * indices[1] + i * indices[2] + j * indices[3],
                            channels,
                            (min(block[0], height - p), min(block[1], width - q)),
                            (grad[2], grad[3]),
                            p * width + q,
                            (width, 1),
                        )
                    if stream:
                        write_dx(result, target, some * channels, 1)
            item = claim(work)

    return max_unpool_input
