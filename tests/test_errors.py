"""Bad input raises one clear sentence, before anything is computed: a table of every argument of every operator.

In the messages below "..." stands for anything.
"""

import inspect
import re

import numpy as np
import pytest

from upconv import kernels
from upconv.kernels.op import OPERATORS


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


X, WEIGHT, BIAS, Y = zeros(2, 4, 6, 7), zeros(6, 2, 3, 3), zeros(6), zeros(2, 6, 4, 5)
UP_WEIGHT, UP, POOLED = zeros(4, 3, 3, 3), zeros(2, 6, 8, 9), zeros(2, 4, 3, 3)
OFFSETS, INDICES, LABELS = zeros(2, 4, 3, 3, dtype=np.uint8), zeros(2, 4, 3, 3, dtype=int), zeros(2, 6, 7, dtype=int)

# A call of each operator that is right, by the names of its arguments.
RIGHT = {
    "conv2d": {"x": X, "weight": WEIGHT, "bias": BIAS, "groups": 2},
    "conv2d_input": {"input_shape": X.shape, "weight": WEIGHT, "grad": Y, "groups": 2},
    "conv2d_weight": {"x": X, "weight_shape": WEIGHT.shape, "grad": Y, "groups": 2},
    "conv_transpose2d": {"x": X, "weight": UP_WEIGHT, "bias": BIAS, "groups": 2},
    "conv_transpose2d_input": {"input_shape": X.shape, "weight": UP_WEIGHT, "grad": UP, "groups": 2},
    "conv_transpose2d_weight": {"x": X, "weight_shape": UP_WEIGHT.shape, "grad": UP, "groups": 2},
    "max_pool2d": {"x": X, "kernel_size": 2},
    "max_pool2d_offsets": {"x": X, "kernel_size": 2},
    "max_pool2d_indices": {"input_shape": X.shape, "offsets": OFFSETS, "kernel_size": 2},
    "max_pool2d_input": {"input_shape": X.shape, "offsets": OFFSETS, "grad": POOLED, "kernel_size": 2},
    "max_unpool2d": {"x": POOLED, "indices": INDICES, "kernel_size": 2},
    "max_unpool2d_input": {"grad": X, "indices": INDICES},
    "cross_entropy": {"logits": X, "labels": LABELS},
    "cross_entropy_input": {"logits": X, "labels": LABELS},
    "concatenate": {"xs": [X, X]},
    "add": {"x": X, "y": X},
    **{operator: {"x": X} for operator in ("channel_sum", "relu", "softmax")},
    **{operator: {"y": X, "grad": X} for operator in ("relu_input", "bias_relu_input", "softmax_input")},
}


# What each kind of argument refuses, as (bad values, exception, message).


def maps(name):
    yield (None, 1.5, "x", [[[[1.0]]]]), TypeError, f"{name} must be a NumPy array, got "
    for dtype in (np.int64, np.uint8, np.bool_, np.float16, np.complex64, ">f4", ">f8", object):
        got = np.dtype(dtype).str
        yield (
            (zeros(2, 4, 6, 7).astype(dtype),),
            TypeError,
            f"{name} must be float32 or float64 in native byte order, got {got}",
        )
    yield (zeros(), zeros(2, 4, 6), zeros(1, 2, 4, 6, 7)), ValueError, f"{name} must have the 4 axes ..., got shape ("
    huge = np.broadcast_to(np.float64(0), (1, 1, 1, 2**31))
    yield (
        (huge,),
        ValueError,
        f"{name} must have fewer than 2**31 entries on each axis, got shape (1, 1, 1, 2147483648)",
    )


def pairs(name, least):
    numbers = 1.5, 2.0, float("nan"), float("inf"), True, np.True_, np.array([1, 1]), 1j, {1: 2}
    yield numbers, TypeError, f"{name} must be an integer...got "
    yield ((1, 1.5), (1, None), (1, "1"), (1, True)), TypeError, f"{name}[1] must be an integer, got "
    yield ((), (1,), (1, 1, 1)), ValueError, f"{name} must be an integer or a pair, got ("
    yield (least - 1, -(2**40)), ValueError, f"{name} must be at least {least}, got "
    yield (2**31, 2**40, 2**70), ValueError, f"{name} must be at most 2147483647, got "
    yield ((1, least - 1),), ValueError, f"{name}[1] must be at least {least}, got {least - 1}"
    yield ((1, 2**31),), ValueError, f"{name}[1] must be at most 2147483647, got 2147483648"


def padding(name):
    yield from pairs(name, 0)
    yield ("full", ""), ValueError, f"{name} must be an integer, a pair, a pair of pairs...got '"
    yield (((1, 1), (1, -1)),), ValueError, f"{name}[1][1] must be at least 0, got -1"
    yield (((1, 1), (1, 1, 1)),), ValueError, f"{name}[1] must be an integer or a pair, got (1, 1, 1)"


def shapes(name):
    yield (None, 5, "NCHW", zeros(4)), TypeError, f"{name} must be a shape with the axes ..., got "
    yield ((1, 2, 3),), ValueError, f"{name} must have the 4 axes ..., got (1, 2, 3)"
    yield ((1, 2, 3.0, 4),), TypeError, f"{name}[2] must be an integer, got 3.0"
    yield ((1, 2, 3, -4),), ValueError, f"{name}[3] must be at least 0, got -4"
    yield ((1, 2, 3, 2**31),), ValueError, f"{name}[3] must be at most 2147483647, got 2147483648"


def integers(name, right, end):
    yield (None, 1, [1]), TypeError, f"{name} must be a NumPy array of integers, got "
    yield [right.astype(dtype) for dtype in ("f4", "?", "c8")], TypeError, f"{name} must be integers, got "
    yield (right[:1], right[..., 0], right[None]), ValueError, f"{name} must have shape (2, ..., got ("
    for dtype, wrong in (("i1", -1), ("u1", end), ("i8", 2**33), ("i8", -(2**63)), ("u8", 2**63), (">i4", end)):
        bad = right.astype(dtype)
        bad.flat[-1] = wrong
        yield (bad,), IndexError, f"{name} must be ...0..{end - 1}...got {wrong}"


def number(name, least):
    yield (None, 1.0, "1", True, (1, 1)), TypeError, f"{name} must be an integer, got "
    yield (least - 1,), ValueError, f"{name} must be at least {least}, got {least - 1}"
    yield (2**70,), ValueError, f"{name} must be at most ...got 1180591620717411303424"


def words(name, allowed):
    yield ("gelu", "", 1, True, []), ValueError, f"{name} must be one of {allowed}, got "


def flags(name):
    yield (None, 1, "yes", zeros(3)), TypeError, f"{name} must be True or False, got "


def bias(name):
    yield (0.0, [0.0]), TypeError, f"{name} must be a NumPy array, got "
    yield (zeros(6, dtype=int),), TypeError, f"{name} must be float32 or float64 in native byte order, got <i8"
    yield (zeros(6, dtype="f4"),), TypeError, f"{name} must be float64 like the first array, got float32"
    yield (zeros(6, 1),), ValueError, f"{name} must have the 1 axes C, got shape (6, 1)"
    yield (zeros(5),), ValueError, f"{name} must have shape (6,), got (5,)"


def out(name):
    yield (
        ([1.0], zeros(3, dtype="f4"), zeros(3, dtype=">f8")),
        TypeError,
        f"{name} must be a NumPy array of float64, got ",
    )
    yield (zeros(3),), ValueError, f"{name} must have shape (..., got (3,)"


def arrays(name):
    yield (None, X, [], iter([X])), TypeError, f"{name} must be a list of at least one array, got "
    for values, error, message in maps(f"{name}[1]"):
        yield [[X, bad] for bad in values], error, message
    yield ([X, X.astype("f4")],), TypeError, f"{name}[1] must be float64 like the first array, got float32"
    yield ([X, X[..., 1:]],), ValueError, f"{name}[1] must have shape (2, 4, 6, 7), got (2, 4, 6, 6)"


def refused(operator, name):
    """The rows of one argument of one operator."""
    if name in ("indices", "offsets", "labels"):
        pixels = 36 if operator == "max_unpool2d" else 42
        return integers(name, RIGHT[operator][name], pixels if name == "indices" else 4)
    return {
        **dict.fromkeys(("x", "y", "grad", "logits", "weight"), lambda: maps(name)),
        **dict.fromkeys(("input_shape", "weight_shape"), lambda: shapes(name)),
        **dict.fromkeys(("stride", "dilation", "kernel_size"), lambda: pairs(name, 1)),
        **dict.fromkeys(("ceil_mode", "return_indices"), lambda: flags(name)),
        "padding": lambda: padding(name),
        "output_padding": lambda: pairs(name, 0),
        "output_size": lambda: pairs(name, 1 if operator == "max_unpool2d" else 0),
        "groups": lambda: number(name, 1),
        "ignore_index": lambda: number(name, -(2**63)),
        "activation": lambda: words(name, "None, 'relu'"),
        "reduction": lambda: words(name, "'mean', 'sum'"),
        "algorithm": lambda: words(name, "'auto', 'direct', 'reference'"),
        "bias": lambda: bias(name),
        "out": lambda: out(name),
        "xs": lambda: arrays(name),
    }[name]()


# Arguments that do not fit each other, as (what is changed, message).

OIHW = "weight must be (out, in / groups, kh, kw) for 4 input channels in "
IOHW = "weight must be (in, out / groups, kh, kw) for 4 input channels in "
MAP_GRAD = "grad must have shape (2, 6, 4, 5), got "
UP_GRAD = "grad must have shape (2, 6, 8, 9), its last axes larger by output_padding below [1, 1]; got "
TOO_LARGE = "the result must have fewer than 2**31 rows and columns, got "
OUTSIDE = "a window lies wholly in the padding: padding ((1, 1), (1, 1)) with dilation "
one = {"x": zeros(2, 4, 1, 1), "indices": INDICES[:, :, :1, :1], "stride": 1, "padding": 1}
TOGETHER = {
    "conv2d": [
        ({"weight": zeros(6, 3, 3, 3)}, OIHW + "2 groups, and groups must divide both ...; got weight (6, 3, 3, 3)"),
        ({"weight": zeros(5, 2, 3, 3)}, OIHW + "2 groups"),
        ({"groups": 3}, OIHW + "3 groups"),
        (
            {"weight": zeros(6, 2, 7, 3)},
            "weight.shape[2:] with its dilation covers (7, 3) pixels, more than the padded map (6, 7)",
        ),
        (
            {"dilation": 3, "padding": ((0, 0), (1, 0))},
            "dilation covers (7, 7) pixels, more than the padded map (6, 8)",
        ),
        ({"weight": zeros(6, 2, 0, 3)}, "weight.shape[2:][0] must be at least 1, got 0"),
        ({"padding": 2**31 - 1}, TOO_LARGE),
    ],
    "conv2d_input": [
        ({"weight": zeros(6, 3, 3, 3)}, OIHW + "2 groups"),
        ({"grad": zeros(2, 6, 4, 6)}, MAP_GRAD + "(2, 6, 4, 6)"),
        ({"stride": 2}, "grad must have shape (2, 6, 2, 3), got (2, 6, 4, 5)"),
    ],
    "conv2d_weight": [
        (
            {"weight_shape": (6, 3, 3, 3)},
            "weight_shape must be (out, in / groups, kh, kw) for 4 input channels in 2 groups",
        ),
        ({"weight_shape": (6, 2, 3, 0)}, "weight_shape[2:][1] must be at least 1, got 0"),
        ({"grad": zeros(3, 6, 4, 5)}, MAP_GRAD + "(3, 6, 4, 5)"),
    ],
    "conv_transpose2d": [
        ({"weight": zeros(5, 3, 3, 3)}, IOHW + "2 groups"),
        ({"output_padding": 1}, "output_padding must be below max(stride, dilation) = (1, 1), got (1, 1)"),
        ({"output_size": (8, 10)}, "output_size must be between (8, 9) and (8, 9), got (8, 10)"),
        ({"padding": 4}, "padding ((4, 4), (4, 4)) crops all of the result: its size would be (0, 1)"),
        ({"padding": "same"}, "padding must be an integer, a pair, a pair of pairs, got 'same'"),
        ({"stride": 2**30}, TOO_LARGE),
    ],
    "conv_transpose2d_input": [
        ({"weight": zeros(5, 3, 3, 3)}, IOHW + "2 groups"),
        ({"grad": zeros(2, 6, 8, 10)}, UP_GRAD + "(2, 6, 8, 10)"),
        ({"grad": zeros(2, 5, 8, 9)}, UP_GRAD + "(2, 5, 8, 9)"),
    ],
    "conv_transpose2d_weight": [
        (
            {"groups": 3},
            "weight_shape must be (in, out / groups, kh, kw) for 4 input channels, which groups=3 must divide",
        ),
        ({"grad": zeros(2, 6, 7, 9)}, UP_GRAD + "(2, 6, 7, 9)"),
    ],
    "max_pool2d": [
        (
            {"kernel_size": (3, 8)},
            "kernel_size with its dilation covers (3, 8) pixels, more than the padded map (6, 7)",
        ),
        ({"padding": (1, 2)}, "padding must be at most half of kernel_size with its dilation, got (1, 2)"),
        ({"x": zeros(1, 1, 2, 2), "padding": 1, "dilation": 3}, OUTSIDE + "(3, 3)"),
        ({"x": zeros(1, 1, 0, 2), "padding": 1}, OUTSIDE + "(1, 1)"),
    ],
    "max_pool2d_input": [({"grad": zeros(2, 4, 3, 4)}, "grad must have shape (2, 4, 3, 3), got (2, 4, 3, 4)")],
    "max_unpool2d": [
        ({"padding": 2}, "padding must be at most half of kernel_size with its dilation, got 2"),
        ({"output_size": (8, 6)}, "output_size must be less than one stride (2, 2) away from (6, 6), got (8, 6)"),
        (one, "the result would have size (0, 0); padding 1 is too large for it"),
    ],
    **{
        operator: [({name: zeros(2, 4, 6, 5)}, f"{name} must have shape (2, 4, 6, 7), got (2, 4, 6, 5)")]
        for operator, name in (
            ("relu_input", "grad"),
            ("bias_relu_input", "grad"),
            ("softmax_input", "grad"),
            ("add", "y"),
        )
    },
}
LIKE_FIRST = {
    "weight": ("conv2d", "conv2d_input", "conv_transpose2d", "conv_transpose2d_input"),
    "grad": ("conv2d_weight", "conv_transpose2d_weight", "relu_input", "bias_relu_input", "softmax_input"),
    "y": ("add",),
}


def table():
    for operator in RIGHT:
        for name in inspect.signature(getattr(kernels, operator)).parameters:
            for values, error, message in refused(operator, name):
                yield from ((operator, {name: value}, error, message) for value in values)
        yield from ((operator, changes, ValueError, message) for changes, message in TOGETHER.get(operator, ()))
    for name, operators in LIKE_FIRST.items():
        for operator in operators:
            changes = {name: RIGHT[operator][name].astype(np.float32)}
            yield operator, changes, TypeError, f"{name} must be float64 like the first array, got float32"


TABLE = list(table())


@pytest.mark.parametrize("operator", RIGHT)
def test_bad_input_raises_before_anything_is_computed(operator, traced):
    function = getattr(kernels, operator)
    function(**RIGHT[operator])  # the table's premise
    traced.clear()
    for _, changes, error, message in (row for row in TABLE if row[0] == operator):
        pattern = re.escape(message).replace(re.escape("..."), ".*")
        with pytest.raises(error, match=f"^{operator}: .*{pattern}") as caught:
            function(**(RIGHT[operator] | changes))
        assert type(caught.value) is error
        assert "\n" not in str(caught.value)
    assert not traced


def test_the_table_has_every_operator():
    assert set(RIGHT) == set(OPERATORS)


@pytest.mark.parametrize("operator", RIGHT)
def test_unknown_and_positional_arguments_are_refused(operator):
    function = getattr(kernels, operator)
    with pytest.raises(TypeError, match="unexpected keyword argument 'sride'"):
        function(**RIGHT[operator], sride=2)
    parameters = inspect.signature(function).parameters.values()
    with pytest.raises(TypeError, match="positional argument"):
        function(*[X for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY], X)


# Public functions that are no operators.

OTHERS = [
    ("explain", (np.zeros,), TypeError, "function must be an operator of upconv.kernels, got <"),
    ("channels_last", (None,), TypeError, "x must be a NumPy array with the axes NCHW, got NoneType"),
    ("channels_last", (zeros(3),), TypeError, "x must be a NumPy array with the axes NCHW, got shape (3,)"),
    ("channel_slots", (None, (1, 2)), TypeError, "shape must be a shape with the axes NHW, got None"),
    ("channel_slots", ((1, 2), (1, 2)), ValueError, "shape must have the 3 axes NHW, got (1, 2)"),
    ("channel_slots", ((1, 2, -3), (1, 2)), ValueError, "shape[2] must be at least 0, got -3"),
    ("channel_slots", ((1, 2, 3), 4), TypeError, "channels must be a list of integers, got int"),
    ("channel_slots", ((1, 2, 3), (4, 1.5)), TypeError, "channels[1] must be an integer, got 1.5"),
    ("channel_slots", ((1, 2, 3), (4, -1)), ValueError, "channels[1] must be at least 0, got -1"),
    ("channel_slots", ((1, 2, 3), (4,), int), TypeError, "dtype must be float32 or float64, got <class 'int'>"),
    ("channel_slots", ((1, 2, 3), (4,), None), TypeError, "dtype must be float32 or float64, got None"),
    ("set_num_threads", (0,), ValueError, "count must be an integer in 1..1024, got 0"),
    ("set_num_threads", (1025,), ValueError, "count must be an integer in 1..1024, got 1025"),
    ("set_num_threads", (2.0,), ValueError, "count must be an integer in 1..1024, got 2.0"),
    ("set_num_threads", (True,), ValueError, "count must be an integer in 1..1024, got True"),
]


@pytest.mark.parametrize(("function", "arguments", "error", "message"), OTHERS)
def test_bad_input_of_the_other_functions(function, arguments, error, message):
    with pytest.raises(error, match=f"^{function}: {re.escape(message)}"):
        getattr(kernels, function)(*arguments)


def test_explain_raises_what_the_call_would():
    with pytest.raises(ValueError, match=r"^conv2d: stride must be at least 1, got 0"):
        kernels.explain(kernels.conv2d, X, WEIGHT, stride=0)
    with pytest.raises(ValueError, match=r"^relu: out must have shape"):
        kernels.explain(kernels.relu, X, out=Y)
