"""Writing past the caches, for results too large to be found there by whoever reads them next.

A plain store to a line that no cache holds reads the line first; a non-temporal one does not, so that a copy moves two
thirds of the bytes. Such stores are ordered by the atomic increment in `jit.claim`, which every thread makes last.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from .machine import LINE
from .vector import Words

LARGE = 24 * 2**20  # bytes of a result from which on it is faster, beside 32 MiB of cache; at 16 it cost a fifth

FAR = 8 * 2**20  # bytes of a map from which on it pays to ask for what is read next


def far(nbytes: int) -> bool:
    """True where a map of `nbytes` bytes is probably in no cache near the core, whatever has been computed before."""
    return nbytes >= FAR


def streams(nbytes: int) -> bool:
    """True where a result of `nbytes` bytes is to be written past the caches."""
    return nbytes >= LARGE


@cache
def write(dtype: np.dtype) -> Callable[..., Any]:
    """target[i] = source[i] for i < count.

    An intrinsic (target, source, count, stream): addresses of `count` numbers of `dtype` (integers too) each, which
    share no memory; stream: 1 to write past the caches, else 0. Fastest for stretches of many cache lines.
    """

    @intrinsic
    def copy(typing_context, target, source, count, stream):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            target, source, count, stream = arguments
            lines, single = Words(builder, dtype, LINE // dtype.itemsize), Words(builder, dtype, 1)
            end = builder.mul(count, lines.integer(dtype.itemsize))
            whole = builder.sub(end, lines.integer(LINE - 1))

            def copying(words: Words, store: Callable[[Any, Any], None]) -> Callable[[Any], list[Any]]:
                def body(offset: Any) -> list[Any]:
                    store(words.load(builder.add(source, offset)), builder.add(target, offset))
                    return []

                return body

            def past_the_caches() -> list[Any]:
                head = lines.until_aligned(target, end, LINE)
                start, _ = single.loop(lines.integer(0), head, single.size, [], copying(single, single.store))
                return [lines.loop(start, whole, LINE, [], copying(lines, lines.stream))[0]]

            def plainly() -> list[Any]:
                return [lines.loop(lines.integer(0), whole, LINE, [], copying(lines, lines.store))[0]]

            rest = lines.choose(stream, past_the_caches, plainly)[0]
            single.loop(rest, end, single.size, [], copying(single, single.store))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), emit

    return copy
