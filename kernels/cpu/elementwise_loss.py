"""Losses that compare two arrays number by number: sums in float64, and gradients."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from ..layout import Array, empty
from . import mathematics
from .channelwise import place
from .elementwise import elementwise, runs
from .jit import claim, kernel
from .machine import LINE
from .parallel import SMALL, run
from .vector import Words

SPLITS = 64  # partial sums. It sets the order of the sums, so it must not depend on the threads
CHUNK = 16 * 1024  # numbers of a run that are summed at once, and of several short runs
DOUBLE = np.dtype(np.float64)

Word = Callable[[Words, Any, Any], Any]


def l1_loss(outputs: list[Array], x: Array, target: Array, *, reduction: str) -> None:
    """l1_loss."""
    _reduce(outputs[0], _sum("l1_loss", x, target), x, reduction)


def l1_loss_input(outputs: list[Array], x: Array, target: Array, *, reduction: str) -> None:
    """l1_loss_input."""
    elementwise("l1_loss_input", _sign, outputs[0], [x, target], (1 / max(1, _parts(x, reduction)),))


def mse_loss(outputs: list[Array], x: Array, target: Array, *, reduction: str) -> None:
    """mse_loss."""
    _reduce(outputs[0], _sum("mse_loss", x, target), x, reduction)


def mse_loss_input(outputs: list[Array], x: Array, target: Array, *, reduction: str) -> None:
    """mse_loss_input."""
    elementwise("mse_loss_input", _difference, outputs[0], [x, target], (2 / max(1, _parts(x, reduction)),))


def binary_cross_entropy_with_logits(
    outputs: list[Array], x: Array, target: Array, *weights: Array | None, reduction: str
) -> None:
    """binary_cross_entropy_with_logits."""
    if all(each is None for each in weights):
        total = _sum("binary_cross_entropy", x, target)
    else:
        no, yes = _weighted(x, target, *weights)
        total = _sum("softplus", x, no) + _sum("softplus_of_minus", x, yes)
    _reduce(outputs[0], total, x, reduction)


def binary_cross_entropy_with_logits_input(
    outputs: list[Array], x: Array, target: Array, *weights: Array | None, reduction: str
) -> None:
    """binary_cross_entropy_with_logits_input."""
    scale = (1 / max(1, _parts(x, reduction)),)
    if all(each is None for each in weights):
        elementwise("binary_cross_entropy_input", _binary_gradient, outputs[0], [x, target], scale)
        return
    no, yes = _weighted(x, target, *weights)
    elementwise("sigmoid_times", _sigmoid_times, outputs[0], [x, no], scale)
    elementwise("sigmoid_of_minus_times", _sigmoid_of_minus_times, no, [x, yes], scale)
    elementwise("difference", _difference, outputs[0], [outputs[0], no], (1.0,))


def _parts(x: Array, reduction: str) -> int:
    """What the sum is divided by."""
    return x.size if reduction == "mean" else 1


def _reduce(loss: Array, total: Any, x: Array, reduction: str) -> None:
    with np.errstate(all="ignore"):  # 0 / 0 is NaN; what overflows is the caller's
        loss[...] = np.float64(total) / _parts(x, reduction)


def _weighted(x: Array, target: Array, weight: Array | None, pos_weight: Array | None) -> tuple[Array, Array]:
    """What the loss costs per unit of softplus(x) and of softplus(-x)."""
    no, yes = empty(x.shape, x.dtype), empty(x.shape, x.dtype)
    np.subtract(1, target, out=no)
    np.multiply(target, 1 if pos_weight is None else pos_weight, out=yes)
    for each in (no, yes):
        np.multiply(each, 1 if weight is None else weight, out=each)
    return no, yes


def _double(words: Words, value: Any) -> Any:
    """The numbers as float64."""
    return value if words.size == 8 else words.builder.fpext(value, Words(words.builder, DOUBLE, words.lanes).vector)


def _distance(words: Words, x: Any, target: Any) -> Any:
    """x - target, exact where they are float32."""
    return words.builder.fsub(_double(words, x), _double(words, target))


def _absolute(words: Words, x: Any, target: Any) -> Any:
    return Words(words.builder, DOUBLE, words.lanes).magnitude(_distance(words, x, target))


def _square(words: Words, x: Any, target: Any) -> Any:
    distance = _distance(words, x, target)
    return words.builder.fmul(distance, distance)


def _softplus(words: Words, x: Any) -> tuple[Any, Any]:
    """log(1 + exp(x)) and log(1 + exp(-x))."""
    builder = words.builder
    tail = mathematics.log1p(words, mathematics.exp(words, builder.fneg(words.magnitude(x))))
    return builder.fadd(words.rectify(x), tail), builder.fadd(words.rectify(builder.fneg(x)), tail)


def _softplus_times(words: Words, x: Any, times: Any) -> Any:
    return _double(words, words.builder.fmul(_softplus(words, x)[0], times))


def _softplus_of_minus_times(words: Words, x: Any, times: Any) -> Any:
    return _double(words, words.builder.fmul(_softplus(words, x)[1], times))


def _binary(words: Words, x: Any, target: Any) -> Any:
    builder = words.builder
    no, yes = _softplus(words, x)
    other = builder.fsub(words.constant(1.0), target)
    return _double(words, builder.fadd(builder.fmul(other, no), builder.fmul(target, yes)))


def _product(words: Words, x: Any, times: Any) -> Any:
    return _double(words, words.builder.fmul(x, times))


def _squared_product(words: Words, x: Any, times: Any) -> Any:
    product = _product(words, x, times)
    return words.builder.fmul(product, product)


SUMS: dict[str, Word] = {
    "l1_loss": _absolute,
    "mse_loss": _square,
    "binary_cross_entropy": _binary,
    "softplus": _softplus_times,
    "softplus_of_minus": _softplus_of_minus_times,
    "product": _product,
    "squared_product": _squared_product,
}


# What is done to each number of a gradient; the parameter is what it is multiplied by.


def _sign(words: Words, parameters: Sequence[Any], x: Any, target: Any) -> Any:
    builder, scale = words.builder, parameters[0]
    below = builder.select(builder.fcmp_ordered("<", x, target), builder.fneg(scale), words.zero())
    return builder.select(builder.fcmp_ordered(">", x, target), scale, below)


def _difference(words: Words, parameters: Sequence[Any], x: Any, target: Any) -> Any:
    return words.builder.fmul(words.builder.fsub(x, target), parameters[0])


def _sigmoid_times(words: Words, parameters: Sequence[Any], x: Any, times: Any) -> Any:
    return words.builder.fmul(words.builder.fmul(mathematics.sigmoid(words, x), times), parameters[0])


def _sigmoid_of_minus_times(words: Words, parameters: Sequence[Any], x: Any, times: Any) -> Any:
    return _sigmoid_times(words, parameters, words.builder.fneg(x), times)


def _binary_gradient(words: Words, parameters: Sequence[Any], x: Any, target: Any) -> Any:
    builder = words.builder
    other = builder.fsub(words.constant(1.0), target)
    no = builder.fmul(mathematics.sigmoid(words, x), other)
    yes = builder.fmul(mathematics.sigmoid(words, builder.fneg(x)), target)
    return builder.fmul(builder.fsub(no, yes), parameters[0])


def _sum(name: str, x: Array, target: Array) -> float:
    """The sum of SUMS[name] over two channels-last arrays of one shape, in float64: partial sums, added in order."""
    if not x.size:
        return 0.0
    each = runs([x, target])
    pieces, together = -(-each.length // CHUNK), max(1, CHUNK // each.length)
    items = -(-each.count // together) * pieces
    partial = np.zeros((min(SPLITS, items), LINE // x.itemsize))
    run(
        _sums(name, x.dtype),
        len(partial),
        partial.ctypes.data,
        items,
        tuple(a.__array_interface__["data"][0] for a in (x, target)),
        each.steps,
        each.counts,
        (each.length, pieces, together),
        small=x.nbytes < SMALL,
    )
    with np.errstate(all="ignore"):  # infinities that cancel or overflow are the caller's
        return partial.sum(axis=0).sum()


@cache
def adding(name: str, dtype: np.dtype) -> Any:
    """total[i % lanes] += SUMS[name](x[i], target[i]), for i < count; lanes to a cache line, for all CPUs alike.

    An intrinsic (total, x, target, count): addresses; total is float64.
    """

    @intrinsic
    def loop(typing_context, total, x, target, count):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            total, x, target, count = arguments
            lanes = LINE // dtype.itemsize
            wide, single = Words(builder, dtype, lanes), Words(builder, dtype, 1)
            end = builder.mul(count, wide.integer(wide.size))
            whole = builder.sub(end, wide.integer(LINE - wide.size))

            def added(words: Words, start: Any, end: Any) -> Any:
                sums = Words(builder, DOUBLE, words.lanes)

                def body(offset: Any, so_far: Any) -> list[Any]:
                    read = [words.load(builder.add(each, offset)) for each in (x, target)]
                    return [builder.fadd(so_far, SUMS[name](words, *read))]

                last, values = words.loop(start, end, words.lanes * words.size, [sums.load(total)], body)
                sums.store(values[0], total)
                return last

            added(single, added(wide, wide.integer(0), whole), end)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), emit

    return loop


@cache
def _sums(name: str, dtype: np.dtype) -> Any:
    loop, size, lanes = adding(name, dtype), dtype.itemsize, LINE // dtype.itemsize

    @kernel(f"{name}-{dtype}")
    def sums(work, scratch, count, partial, items, maps, steps, counts, cut):  # type: ignore[no-untyped-def]
        length, pieces, together = cut
        split = claim(work)
        while split < count:
            for item in range(split * items // count, (split + 1) * items // count):
                start, first = item % pieces * CHUNK, item // pieces * together
                for number in range(first, min(first + together, counts[0] * counts[1] * counts[2])):
                    at = maps[0] + place(number, counts, steps[0]) + start * size
                    by = maps[1] + place(number, counts, steps[1]) + start * size
                    loop(partial + 8 * lanes * split, at, by, min(CHUNK, length - start))
            split = claim(work)

    return sums
