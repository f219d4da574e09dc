"""Softmax, its logarithm, and their gradients for pixels of few channels: taken apart and put together in registers."""

from functools import cache
from math import inf
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from . import mathematics
from .interleave import picked
from .vector import Words

DOUBLE = np.dtype(np.float64)


@cache
def pixels_of_few(name: str, dtype: np.dtype, lanes: int, channels: int) -> Any:
    """The operator on pixels side by side, of which there is a multiple of `lanes`.

    An intrinsic (y, z, w, count): addresses of the result, the first and the second argument; how many pixels.
    """

    @intrinsic
    def together(typing_context, y, z, w, count):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, z, w, count = arguments
            words, sums = Words(builder, dtype, lanes), Words(builder, DOUBLE, lanes)
            unit = channels * lanes * words.size

            def exact(value: Any) -> Any:
                return value if words.size == 8 else builder.fpext(value, sums.vector)

            def rounded(value: Any) -> Any:
                return value if words.size == 8 else builder.fptrunc(value, words.vector)

            def planes(address: Any, at: Any) -> list[Any]:
                start = builder.add(address, at)
                vectors = [words.load(start, k * lanes * words.size) for k in range(channels)]
                return [picked(words, vectors, [i * channels + c for i in range(lanes)]) for c in range(channels)]

            def forward(z: list[Any]) -> list[Any]:
                largest = words.constant(-inf)
                for value in z:
                    largest = words.greater(value, largest)
                below = [builder.fsub(value, largest) for value in z]
                powers = [mathematics.exp_of_negative(words, each) for each in below]
                total = sums.zero()
                for power in powers:
                    total = builder.fadd(total, exact(power))
                if name == "softmax":
                    factor = rounded(builder.fdiv(sums.constant(1.0), total))
                    return [builder.fmul(power, factor) for power in powers]
                logarithm = mathematics.log(words, rounded(total))
                return [builder.fsub(each, logarithm) for each in below]

            def backward(z: list[Any], w: list[Any]) -> list[Any]:
                total = sums.zero()
                for value, grad in zip(z, w, strict=True):
                    share = exact(grad) if name == "log_softmax_input" else builder.fmul(exact(value), exact(grad))
                    total = builder.fadd(total, share)
                factor = rounded(total)
                if name == "softmax_input":
                    return [builder.fmul(a, builder.fsub(b, factor)) for a, b in zip(z, w, strict=True)]
                powers = [mathematics.exp_of_negative(words, value) for value in z]
                return [builder.fsub(b, builder.fmul(a, factor)) for a, b in zip(powers, w, strict=True)]

            def some(at: Any) -> list[Any]:
                values = planes(z, at)
                values = backward(values, planes(w, at)) if name.endswith("_input") else forward(values)
                for k in range(channels):
                    flat = range(k * lanes, (k + 1) * lanes)
                    mixed = picked(words, values, [each % channels * lanes + each // channels for each in flat])
                    words.store(mixed, builder.add(y, at), k * lanes * words.size)
                return []

            words.loop(words.integer(0), builder.mul(count, words.integer(channels * words.size)), unit, [], some)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), emit

    return together
