"""Calls like an earlier one: what is remembered of a call, and what must be asked again."""

import gc
import weakref

import numpy as np
import pytest
from kernel_cases import integers

from benchmarks.calls import draw
from upconv import kernels
from upconv.kernels import known
from upconv.kernels.cpu import correlation, grouped, winograd
from upconv.kernels.op import OPERATORS

REMEMBERING = [name for name, op in OPERATORS.items() if op.by_shape]


@pytest.fixture
def remembered():
    """What is remembered of calls of conv2d and its weight's gradient: nothing yet."""
    ops = [kernels.conv2d.op, kernels.conv2d_weight.op]
    for op in ops:
        op.known.clear()
    return ops[0].known


@pytest.fixture
def arrays(rng):
    return integers(rng, (1, 3, 5, 4), np.float32), integers(rng, (2, 3, 3, 3), np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_second_call_computes_with_its_own_arrays(remembered, arrays, rng):
    x, weight = arrays
    other_x, other_weight, bias = -x, weight + 1, integers(rng, (2,), np.float32)
    first = kernels.conv2d(x, weight)
    assert len(remembered) == 1
    np.testing.assert_array_equal(kernels.conv2d(other_x, weight), -first)
    np.testing.assert_array_equal(
        kernels.conv2d(x, other_weight), kernels.conv2d(x, other_weight, algorithm="reference")
    )
    assert len(remembered) == 2  # one for each algorithm
    kernels.conv2d(x, weight, bias)
    np.testing.assert_array_equal(kernels.conv2d(x, weight, -bias), first - bias[:, None, None])


@pytest.mark.parametrize("change", ["shape", "strides", "dtype", "option", "keyword", "packed"])
def test_another_kind_of_call_is_another(remembered, arrays, change):
    x, weight = arrays
    options = {"padding": 1}
    kernels.conv2d(x, weight, **options)
    match change:
        case "shape":
            x = x[:, :, 1:]
        case "strides":
            x = kernels.channels_last(x)
        case "dtype":
            x, weight = x.astype(np.float64), weight.astype(np.float64)
        case "option":
            options = {"padding": 0}
        case "keyword":
            options = {"dilation": 1}
        case "packed":
            weight = kernels.pack(weight)
    result = kernels.conv2d(x, weight, **options)
    assert len(remembered) == 2
    np.testing.assert_array_equal(result, kernels.conv2d(x, weight, **options, algorithm="reference"))


def test_an_array_given_twice_is_not_remembered(rng):
    """Or of two arrays the next call would use only one."""
    kernels.conv2d_weight.op.known.clear()
    x, y = (integers(rng, (1, 3, 4, 4), np.float32) for _ in range(2))
    arguments = (x, (3, 3, 1, 1), x)
    kernels.conv2d_weight(*arguments)
    assert not kernels.conv2d_weight.op.known
    expected = kernels.conv2d_weight(x, (3, 3, 1, 1), y, algorithm="reference")
    np.testing.assert_array_equal(kernels.conv2d_weight(x, (3, 3, 1, 1), y), expected)


@pytest.mark.parametrize("stride", [True, 1.0, np.float32(1), (1, True), [1, True]])
def test_what_only_equals_a_good_argument_is_still_refused(remembered, arrays, stride):
    kernels.conv2d(*arrays, stride=1)
    kernels.conv2d(*arrays, stride=(1, 1))
    with pytest.raises(TypeError, match="stride"):
        kernels.conv2d(*arrays, stride=stride)


def test_out_is_checked_every_time(remembered, arrays):
    x, weight = arrays
    expected, out = kernels.conv2d(x, weight), np.empty((1, 2, 3, 2), np.float32)
    for _ in range(2):
        out[...] = np.nan
        assert kernels.conv2d(x, weight, out=out) is out
        np.testing.assert_array_equal(out, expected)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        kernels.conv2d(x, weight, out=out)


def test_out_may_lie_over_an_argument_in_one_call_and_not_in_the_next(remembered, rng):
    memory, weight = integers(rng, (1, 2, 4, 4), np.float32), integers(rng, (2, 2, 1, 1), np.float32)
    expected, apart = kernels.conv2d(memory.copy(), weight), np.empty_like(memory)
    kernels.conv2d(memory, weight, out=apart)
    np.testing.assert_array_equal(kernels.conv2d(memory, weight, out=memory), expected)
    assert len(remembered) == 2  # without `out`, and with another array; with one of its own it is not


def test_no_array_is_kept_alive(remembered, arrays):
    x, weight = (each.copy() for each in arrays)
    watched = [weakref.ref(x), weakref.ref(weight), weakref.ref(kernels.conv2d(x, weight))]
    assert remembered
    del x, weight
    gc.collect()
    assert [each() for each in watched] == [None] * 3


def test_other_vectors_are_another_call(remembered, arrays, monkeypatch):
    kernels.conv2d(*arrays)
    monkeypatch.setenv("UPCONV_VECTORS", "simd128")
    kernels.conv2d(*arrays)
    assert len(remembered) == 2


def test_only_so_many_calls_are_remembered(remembered, monkeypatch):
    weight = np.ones((1, 1, 1, 1))
    for width in range(1, known.MOST + 2):
        assert kernels.explain(kernels.conv2d, np.ones((1, 1, 1, width)), weight).variant
    assert len(remembered) == 1


@pytest.mark.parametrize("name", REMEMBERING)
def test_no_remembered_rule_looks_at_numbers(name, rng):
    """Its case, and the variant, are the same for NaN."""
    op = OPERATORS[name]
    for _ in range(20):
        arguments = draw(name, rng)
        cases = []
        for value in (None, np.nan):
            given = {
                key: np.full_like(each, value) if value is not None and isinstance(each, np.ndarray) else each
                for key, each in arguments.items()
            }
            op.known.clear()
            cases.append(op.prepare(**given))
        (one, chosen), (other, other_chosen) = cases
        assert chosen is other_chosen
        assert (one.outputs, one.parameters, one.maps, one.flops) == (
            other.outputs,
            other.parameters,
            other.maps,
            other.flops,
        )


def test_the_convolutions_are_remembered():
    assert len([name for name in REMEMBERING if name.startswith("conv")]) == 6


@pytest.mark.parametrize(("channels", "groups"), [(4, 1), (4, 2), (32, 1)])  # direct, grouped, Winograd's
@pytest.mark.parametrize("name", ["conv2d", "conv2d_input", "conv_transpose2d", "conv_transpose2d_input"])
def test_a_call_like_an_earlier_one_plans_nothing(monkeypatch, rng, name, channels, groups):
    function, shape = getattr(kernels, name), (1, channels, 20, 21)
    weight = integers(rng, (channels, channels // groups, 3, 3), np.float32)

    def called():
        x = integers(rng, shape, np.float32)
        arguments = (shape, weight, x) if name.endswith("_input") else (x, weight)
        options = {"padding": 1, "groups": groups}
        expected = function(*arguments, **options, algorithm="reference")
        given = function(*arguments, **options)
        np.testing.assert_allclose(given, expected, rtol=0, atol=0 if channels == 4 else 0.01)  # of sums up to 4608

    called()
    for module in (correlation, grouped, winograd):
        monkeypatch.delattr(module, "plan")
    called()
    function.op.known.clear()
    with pytest.raises(NameError, match="plan"):
        called()
