"""Operators that look at one number at a time: what is done to it."""

from typing import Any

from ..layout import Array
from . import mathematics
from .elementwise import elementwise
from .vector import Words

Numbers = list[Any]  # vectors; the words' parameters


def relu(outputs: list[Array], x: Array) -> None:
    """relu."""
    elementwise("relu", _relu, outputs[0], [x])


def _relu(words: Words, _: Numbers, x: Any, __: Any) -> Any:
    return words.rectify(x)


def relu_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """relu_input."""
    elementwise("relu_input", _relu_input, outputs[0], [y, grad])


def _relu_input(words: Words, _: Numbers, y: Any, grad: Any) -> Any:
    return words.where_not_positive(y, grad)


def leaky_relu(outputs: list[Array], x: Array, *, negative_slope: float) -> None:
    """leaky_relu."""
    elementwise("leaky_relu", _leaky_relu, outputs[0], [x, x], (negative_slope,))


def leaky_relu_input(outputs: list[Array], x: Array, grad: Array, *, negative_slope: float) -> None:
    """leaky_relu_input."""
    elementwise("leaky_relu_input", _leaky_relu, outputs[0], [x, grad], (negative_slope,))


def _leaky_relu(words: Words, slope: Numbers, x: Any, value: Any) -> Any:
    positive = words.builder.fcmp_ordered(">", x, words.zero())
    return words.builder.select(positive, value, words.builder.fmul(value, slope[0]))


def sigmoid(outputs: list[Array], x: Array) -> None:
    """sigmoid."""
    elementwise("sigmoid", _sigmoid, outputs[0], [x])


def _sigmoid(words: Words, _: Numbers, x: Any, __: Any) -> Any:
    return mathematics.sigmoid(words, x)


def sigmoid_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """sigmoid_input."""
    elementwise("sigmoid_input", _sigmoid_input, outputs[0], [y, grad])


def _sigmoid_input(words: Words, _: Numbers, y: Any, grad: Any) -> Any:
    builder = words.builder
    return builder.fmul(grad, builder.fmul(y, builder.fsub(words.constant(1.0), y)))


def tanh(outputs: list[Array], x: Array) -> None:
    """tanh."""
    elementwise("tanh", _tanh, outputs[0], [x])


def _tanh(words: Words, _: Numbers, x: Any, __: Any) -> Any:
    return mathematics.tanh(words, x)


def tanh_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """tanh_input: 1 - y y as a product, which loses no digits where y is nearly 1."""
    elementwise("tanh_input", _tanh_input, outputs[0], [y, grad])


def _tanh_input(words: Words, _: Numbers, y: Any, grad: Any) -> Any:
    builder, one = words.builder, words.constant(1.0)
    return builder.fmul(grad, builder.fmul(builder.fsub(one, y), builder.fadd(one, y)))


def add(outputs: list[Array], x: Array, y: Array) -> None:
    """add."""
    elementwise("add", _add, outputs[0], [x, y])


def _add(words: Words, _: Numbers, x: Any, y: Any) -> Any:
    return words.builder.fadd(x, y)


def concatenate(outputs: list[Array], *xs: Array) -> None:
    """concatenate: copy each input into its channels."""
    start = 0
    for x in xs:
        if x.size:
            elementwise("copy", _copy, outputs[0][:, start : start + x.shape[1]], [x])
        start += x.shape[1]


def _copy(words: Words, _: Numbers, x: Any, __: Any) -> Any:
    return x


def dropout(outputs: list[Array], x: Array, *, p: float, seed: int) -> None:
    """dropout, and its gradient: a number is kept where the upper 53 bits of its random number reach p 2**53."""
    scale = 1 / (1 - p) if p < 1 else 0.0
    key = mix(seed)
    parameters = scale, key - 2**64 if key >= 2**63 else key, -int(-p * 2**53 // 1)
    elementwise("dropout", _dropout, outputs[0], [x], parameters, indexed=True)


GAMMA = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, odd
MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # SplitMix64's


def mix(seed: int) -> int:
    """SplitMix64's mixing function of 64 bits, which makes unlike keys of seeds that are alike."""
    for shift, factor in MIXERS:
        seed = (seed ^ seed >> shift) * factor % 2**64
    return seed ^ seed >> 31


def _dropout(words: Words, parameters: Numbers, x: Any, index: Any) -> Any:
    """The random number of an index is SplitMix64's after as many steps from the key."""
    builder = words.builder
    scale, key, threshold = parameters

    def every(value: int) -> Any:
        return words.repeated(words.integer(value))

    number = builder.add(key, builder.mul(builder.add(index, every(1)), every(GAMMA)))
    for shift, factor in MIXERS:
        number = builder.mul(builder.xor(number, builder.lshr(number, every(shift))), every(factor))
    number = builder.lshr(builder.xor(number, builder.lshr(number, every(31))), every(11))
    kept = builder.icmp_signed(">=", number, threshold)
    return builder.fmul(x, builder.select(kept, scale, words.zero()))
