"""The gradient of max-pooling on channels-last maps: every pixel gathers from the windows that it won."""

from functools import cache
from math import gcd
from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..layout import Array, Shape
from ..window import Pair, Sides
from .channels import (
    PAIR,
    bands,
    block,
    fetch,
    over_blocks,
    over_taps,
    placed,
    splat,
)
from .jit import claim, inlined, integers, kernel
from .parallel import SMALL, run, strided
from .stream import write
from .vector import Words


def max_pool_input(
    outputs: list[Array],
    shape: Shape,
    offsets: Array,
    grad: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
) -> None:
    """max_pool2d_input: every input pixel gathers from the windows it won."""
    n, c, h, w = shape
    lanes = block(c, grad.dtype)
    straight, stage = placed(lanes, grad, *outputs)
    items, band = bands(n * h, stride[0])
    apart = all(k <= s and d == 1 for k, s, d in zip(kernel_size, stride, dilation, strict=True))
    shared = tuple(gcd(s, d) for s, d in zip(stride, dilation, strict=True))
    run(
        _max_pool_input(grad.dtype, offsets.dtype, lanes, apart, straight),
        items,
        band,
        outputs[0].ctypes.data,
        strided(offsets),
        strided(grad),
        (c, h, w, *grad.shape[2:]),
        kernel_size,
        stride,
        (padding[0][0], padding[1][0]),
        dilation,
        shared,
        stage,
        scratch=stage[0] * c * grad.itemsize + 24 * w,
        small=outputs[0].nbytes < SMALL,
    )


@cache
def _won(dtype: np.dtype, code: np.dtype, lanes: int, apart: bool, straight: bool) -> Any:
    """dx[c] = sum over windows of grad[c] where its code is that of the tap by which the window reaches the pixel.

    apart: no more than one window does. Without loops that took a third less time. straight: write past the caches.

    An intrinsic (dx, grad, codes, channels, counts, grad_steps, code_steps, tap, tap_steps): addresses of the first
    window's numbers; how many rows and columns of windows; the bytes from one to the next; the first one's tap, and
    what is added to it from one to the next.
    """

    @intrinsic
    def emitted(typing_context, dx, grad, codes, channels, counts, grad_steps, code_steps, tap, tap_steps):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            dx, grad, codes, channels, counts, grad_steps, code_steps, tap, tap_steps = arguments
            words, taps = Words(builder, dtype, lanes), Words(builder, code, lanes)
            steps = [cgutils.unpack_tuple(builder, pair) for pair in (grad_steps, code_steps, tap_steps)]

            def body(c: Any) -> None:
                def window(at: list[Any], total: Any) -> list[Any]:
                    wanted = splat(words, builder.trunc(at[2], taps.scalar))
                    won = builder.icmp_unsigned("==", taps.load(at[1]), wanted)
                    return [builder.fadd(total, builder.select(won, words.load(at[0]), words.zero()))]

                starts = [
                    builder.add(grad, builder.mul(c, words.integer(words.size))),
                    builder.add(codes, builder.mul(c, words.integer(taps.size))),
                    tap,
                ]
                rows, columns = cgutils.unpack_tuple(builder, counts)
                if apart:
                    reached = builder.and_(rows, columns)
                    total = words.choose(reached, lambda: window(starts, words.zero()), lambda: [words.zero()])[0]
                else:
                    total = over_taps(words, (rows, columns), starts, steps, [words.zero()], window)[0]
                put = words.stream if straight else words.store
                put(total, builder.add(dx, builder.mul(c, words.integer(words.size))))

            over_blocks(words, channels, body)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4, PAIR, PAIR, PAIR, types.intp, PAIR), emit

    return emitted


@inlined
def _reaching(at, stride, dilation, taps, windows, tap_step):  # type: ignore[no-untyped-def]
    """(last tap by which a window covers the padded pixel `at`, that window, how many do), one each `tap_step` taps."""
    low = max(0, (at - (windows - 1) * stride + dilation - 1) // dilation)
    tap = min(taps - 1, at // dilation)
    while tap >= low:
        if (at - tap * dilation) % stride == 0:
            return tap, (at - tap * dilation) // stride, (tap - low) // tap_step + 1
        tap -= 1
    return 0, 0, 0


@cache
def _max_pool_input(dtype: np.dtype, code: np.dtype, lanes: int, apart: bool, straight: bool) -> Any:
    size, won, write_dx = dtype.itemsize, _won(dtype, code, lanes, apart, straight), write(dtype)

    @kernel(f"max_pool_input-{dtype}-{code}x{lanes}-{apart}-{straight}")
    def gather(work, scratch, count, band, dx, codes, grad, shape, taps, stride, before, dilation, shared, stage):  # type: ignore[no-untyped-def]
        channels, height, width, rows, columns = shape
        pixels, stream, fetches = stage
        tap_steps = stride[0] // shared[0], stride[1] // shared[1]
        steps = dilation[0] // shared[0], dilation[1] // shared[1]
        reached = integers(scratch, 3 * width)  # by which tap, which window and how many windows reach each column
        for q in range(width):
            v, j, broad = _reaching(q + before[1], stride[1], dilation[1], taps[1], columns, tap_steps[1])
            reached[3 * q], reached[3 * q + 1], reached[3 * q + 2] = v, j, broad
        item = claim(work)
        while item < count:
            for row in range(item * band[1], min(band[0], (item + 1) * band[1])):
                n, p = row // height, row % height
                u, i, high = _reaching(p + before[0], stride[0], dilation[0], taps[0], rows, tap_steps[0])
                for start in range(0, width, pixels):
                    some = min(pixels, width - start)
                    result = dx + (row * width + start) * channels * size
                    target = scratch + 24 * width if stream else result
                    grads = grad[0] + n * grad[1] + i * grad[2]
                    won_by = codes[0] + n * codes[1] + i * codes[2]
                    last = -1
                    for q in range(start, start + some):
                        v, j, broad = reached[3 * q], reached[3 * q + 1], reached[3 * q + 2]
                        if fetches and j != last:
                            last = j
                            fetch(grads, steps[0] * grad[2], high, j + fetches, 1, columns, grad[3])
                            fetch(won_by, steps[0] * codes[2], high, j + fetches, 1, columns, codes[3])
                        won(
                            target + (q - start) * channels * size,
                            grads + j * grad[3],
                            won_by + j * codes[3],
                            channels,
                            (high, broad),
                            (steps[0] * grad[2], steps[1] * grad[3]),
                            (steps[0] * codes[2], steps[1] * codes[3]),
                            u * taps[1] + v,
                            (-tap_steps[0] * taps[1], -tap_steps[1]),
                        )
                    if stream:
                        write_dx(result, target, some * channels, 1)
            item = claim(work)

    return gather
