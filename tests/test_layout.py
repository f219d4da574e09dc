"""Memory formats of results, `out=`, and concatenation without a copy."""

import inspect

import numpy as np
import pytest
from kernel_cases import FORMATS, arranged, arrays, call, changed, integers, same_bits, several

from benchmarks.calls import function
from upconv import kernels
from upconv.kernels import reference
from upconv.kernels.op import OPERATORS

WITH_OUT = [name for name in OPERATORS if "out" in inspect.signature(function(name)).parameters]


def rng():
    return np.random.default_rng(0)


def channels_are_neighbours(x):
    return x.strides[1] == x.itemsize


def in_format(format):
    """What brings a map into `format`."""
    convert = np.ascontiguousarray if format == "contiguous" else kernels.channels_last
    return lambda x: convert(x) if x.ndim == 4 else x


def has_pixels(x):
    """With one channel or one pixel both formats are the same."""
    return x.ndim == 4 and x[0, 0].size > 1


@pytest.mark.parametrize("format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("name", OPERATORS)
def test_a_result_has_the_format_of_its_input(name, format):
    arguments = {argument: changed(value, in_format(format)) for argument, value in call(name).items()}
    if name.startswith("linear"):
        format = "contiguous"  # its arrays are no maps
    elif not any(map(has_pixels, arrays(arguments))):
        format = "channels_last"
    for result in several(function(name)(**arguments)):
        if result.ndim == 4 and name.endswith("_weight"):
            assert channels_are_neighbours(result)
        elif has_pixels(result):
            assert result.flags.c_contiguous == (format == "contiguous")
            assert channels_are_neighbours(result) == (format == "channels_last")


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"contiguous", "unaligned"}))
def test_other_formats_give_channels_last(format):
    x = arranged(integers(rng(), (2, 3, 5, 6)), format)
    assert channels_are_neighbours(kernels.relu(x))
    assert channels_are_neighbours(kernels.conv2d(x, np.ones((4, 3, 3, 3))))


def test_one_channel_counts_as_channels_last():
    x = integers(rng(), (2, 1, 5, 6))
    assert channels_are_neighbours(kernels.conv2d(x, np.ones((4, 1, 3, 3))))


def test_channels_last():
    x = integers(rng(), (2, 3, 5, 6))
    y = kernels.channels_last(x)
    assert channels_are_neighbours(y)
    np.testing.assert_array_equal(x, y)
    assert kernels.channels_last(y) is y
    assert kernels.channels_last(y[:, 1:]).base is y.base
    one = x[:, :1]
    assert kernels.channels_last(one) is one


# out=


def amid(shape, dtype, kind):
    """(buffer, view): a view of `shape` inside a larger buffer of sevens."""
    n, *more, h, w = shape if len(shape) == 4 else (1, *shape, 1, 1)
    channels = more[0] if more else 1
    if kind == "channels":
        buffer = np.full((n, h, w, channels + 5), 7, dtype)
        view = buffer.transpose(0, 3, 1, 2)[:, 2 : channels + 2]
    elif kind == "pixels":
        buffer = np.full((n + 1, h + 3, 2 * w + 1, channels), 7, dtype)
        view = buffer.transpose(0, 3, 1, 2)[:n, :, 2 : h + 2, : 2 * w : 2]
    elif kind == "contiguous":
        buffer = np.full((n, channels + 2, h, w), 7, dtype)
        view = buffer[:, 1:-1]
    else:  # backwards
        buffer = np.full((n, h, w, channels), 7, dtype)
        view = buffer.transpose(0, 3, 1, 2)[::-1, ::-1, ::-1, ::-1]
    return buffer, view


@pytest.mark.parametrize("kind", ["channels", "pixels", "contiguous", "backwards"])
@pytest.mark.parametrize("name", WITH_OUT)
def test_out_is_filled_and_nothing_beside_it(name, kind):
    arguments = call(name)
    expected = several(function(name)(**arguments))[0]
    buffer, out = amid(expected.shape, expected.dtype, kind)
    assert several(function(name)(**arguments | {"out": out}))[0] is out
    np.testing.assert_array_equal(out, expected)
    out[...] = 7
    assert (buffer == 7).all()


@pytest.mark.parametrize("name", WITH_OUT)
def test_a_wrong_out_is_refused(name, traced):
    arguments = call(name)
    right = several(function(name)(**arguments))[0]
    fixed = right.copy()
    fixed.flags.writeable = False
    traced.clear()
    for out, error, message in (
        (right[:-1], ValueError, "out must have shape"),
        (right.astype(np.float64), TypeError, "out must be a NumPy array of float32, got float64"),
        (right.astype(">f4"), TypeError, "out must be a NumPy array of float32, got >f4"),
        (right.tolist(), TypeError, "out must be a NumPy array of float32, got list"),
        (fixed, ValueError, "out must be writable, got a read-only array"),
    ):
        with pytest.raises(error, match=f"^{name}: {message}"):
            function(name)(**arguments | {"out": out})
    assert not traced


def test_in_place_and_overlapping():
    """`out` may be an input, or overlap one in any way: the result is as if it did not."""
    x = kernels.channels_last(integers(rng(), (1, 4, 6, 7)))
    weight = integers(rng(), (4, 4, 3, 3))
    expected = reference.conv2d(
        x, weight, None, stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1, activation=None
    )
    same = x.copy(order="K")
    same_bits(kernels.conv2d(same, weight, padding=1, out=same), expected, np.float64)
    assert np.shares_memory(kernels.relu(same, out=same), same)
    np.testing.assert_array_equal(same, np.maximum(expected, 0))
    for operator in (kernels.relu_input, kernels.add):
        both = [x.copy(order="K"), x.copy(order="K")]
        expected = operator(*both)
        np.testing.assert_array_equal(operator(*both, out=both[1]), expected)
        shifted = np.zeros((1, 6, 8, 4)).transpose(0, 3, 1, 2)
        shifted[..., 1:] = x
        np.testing.assert_array_equal(operator(shifted[..., 1:], x, out=shifted[..., :-1]), expected)
    contiguous = np.ascontiguousarray(x)
    np.testing.assert_array_equal(kernels.relu(contiguous, out=contiguous), np.maximum(x, 0))
    weight_itself = integers(rng(), (4, 4, 3, 3))
    grad, kept = x[:, :, :3, :3].copy(order="K"), weight_itself.copy()
    np.testing.assert_array_equal(
        kernels.conv2d(grad, weight_itself, padding=1, out=weight_itself[:1]), kernels.conv2d(grad, kept, padding=1)
    )


# Concatenation in place


@pytest.mark.parametrize("size", [(2, 5, 6), (2, 256, 257)])  # small, and large enough for memory.py
def test_slots_are_concatenated_without_a_copy(size, traced):
    buffer, slots = kernels.channel_slots(size, (3, 1, 4))
    assert buffer.shape == (size[0], 8, *size[1:])
    assert buffer.dtype == np.float32
    assert channels_are_neighbours(buffer)
    for number, slot in enumerate(slots):
        kernels.conv2d(
            np.full((2, 1, *size[1:]), number, np.float32), np.ones((slot.shape[1], 1, 1, 1), np.float32), out=slot
        )
    traced.clear()
    whole = kernels.concatenate(slots)
    assert not traced
    assert whole.__array_interface__ == buffer.__array_interface__
    assert whole[0, :, 0, 0].tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    some = kernels.concatenate(slots[1:])
    assert np.shares_memory(some, buffer)
    np.testing.assert_array_equal(some, buffer[:, 3:])


def not_side_by_side():
    buffer, (a, b, c) = kernels.channel_slots((2, 5, 6), (3, 1, 4), np.float64)
    buffer[...] = integers(rng(), buffer.shape)
    other = buffer.copy(order="K")
    contiguous = integers(rng(), (2, 4, 5, 6))
    return {
        "in another order": [b, a, c],
        "with a gap": [a, c],
        "the same twice": [a, a],
        "of two buffers": [a, other[:, 3:]],
        "contiguous": [contiguous[:, :2], contiguous[:, 2:]],
        "of other rows": [a[..., ::-1, :], b[..., ::-1, :], c],
        "overlapping": [buffer[..., :-1], buffer[..., 1:]],
        "copies": [a.copy(order="K"), b.copy(order="K")],
    }


@pytest.mark.parametrize("name", not_side_by_side())
def test_what_is_not_side_by_side_is_copied(name):
    xs = not_side_by_side()[name]
    whole = kernels.concatenate(xs)
    same_bits(whole, reference.concatenate(xs), np.float64)
    assert not any(np.shares_memory(whole, x) for x in xs)


def test_concatenation_into_out_copies():
    buffer, slots = kernels.channel_slots((1, 2, 2), (1, 2), np.float64)
    buffer[...] = integers(rng(), buffer.shape)
    out = np.empty_like(buffer)
    assert kernels.concatenate(slots, out=out) is out
    np.testing.assert_array_equal(out, buffer)
    kernels.concatenate(slots[::-1], out=buffer)  # the slots themselves
    np.testing.assert_array_equal(buffer, out[:, [1, 2, 0]])
