"""What each kind of argument refuses, as rows of (bad values, exception, message).

In the messages "..." stands for anything.
"""

import numpy as np

from benchmarks.calls import draw, forward_of, parameters

SHAPE = (2, 4, 6, 7)
FILTERS = {"bias": np.zeros(6), "groups": 2}
GIVEN = {
    "conv2d": {"weight": np.zeros((6, 2, 3, 3)), **FILTERS},
    "conv_transpose2d": {"weight": np.zeros((4, 3, 3, 3)), **FILTERS},
    "linear": {"weight": np.zeros((6, 7)), "bias": np.zeros(6)},
    "max_unpool2d": {"x": np.zeros((2, 4, 3, 3))},
}
MAPS = ("x", "y", "grad", "logits", "log_probabilities", "target")
FOR_EACH = ("weight", "bias", "mean", "variance", "pos_weight")  # filter, channel, class
SLIDING = {"kernel_size", "stride", "indices", "size", "input_shape"}  # operators that take images
ONE_BY_ONE = ("relu", "leaky_relu", "sigmoid", "tanh", "dropout", "dropout_input")  # any shape is right


def right(operator):
    """A call that is right, on maps of 4 channels, 6x7 pixels, by the names of its arguments."""
    given = GIVEN.get(forward_of(operator) or operator, {})
    return draw(operator, np.random.default_rng(0), dtype=np.float64, shape=SHAPE, plain=True, **given)


def refused(operator, name):
    """The rows of one argument of one operator."""
    arguments = right(operator)
    value = arguments[name]
    known = parameters(operator)
    optional = value is None or known[name].default is None
    if name in ("indices", "offsets", "labels"):
        planes = {"max_unpool2d": 36, "max_unpool2d_input": 36}
        return integers(name, value, planes.get(operator, 42) if name == "indices" else 4)
    if name in MAPS or name in FOR_EACH:
        if value is None:
            value = np.ones(4) if name != "pos_weight" else np.ones((4, 1, 1))
        axes = [value[None, None]] if SLIDING & {*known} or name in FOR_EACH else []
        if operator not in ONE_BY_ONE and not (name in FOR_EACH and "target" in known):  # one number is right for all
            axes.append(np.zeros(()))
        return floats(name, value, axes, optional)
    if name == "padding" and operator.startswith("avg_pool2d"):
        return padding(name, sides=False)
    return {
        **dict.fromkeys(("input_shape", "weight_shape"), lambda: shapes(name)),
        **dict.fromkeys(("stride", "dilation", "kernel_size"), lambda: pairs(name, 1)),
        **dict.fromkeys(FLAGS, lambda: flags(name)),
        "padding": lambda: padding(name),
        "output_padding": lambda: pairs(name, 0),
        "output_size": lambda: pairs(name, 1 if operator == "max_unpool2d" else 0),
        "size": lambda: pairs(name, 1),
        "scale_factor": lambda: factors(name),
        "groups": lambda: number(name, 1),
        "ignore_index": lambda: number(name, -(2**63)),
        "seed": lambda: number(name, 0),
        "divisor_override": lambda: divisors(name),
        "p": lambda: reals(name, 0, 1),
        "eps": lambda: reals(name, 0),
        "smooth": lambda: reals(name, 0),
        "negative_slope": lambda: reals(name),
        "activation": lambda: words(name, "None, 'relu'"),
        "precision": lambda: words(name, "None, 'fp32', 'tf32'"),
        "reduction": lambda: words(name, "'mean', 'sum'"),
        "mode": lambda: words(name, "'nearest', 'bilinear', 'bicubic'"),
        "algorithm": lambda: words(name, "'auto', ..., 'reference'"),
        "out": lambda: out(name),
        "xs": lambda: lists(name, arguments["xs"][0]),
    }[name]()


FLAGS = ("ceil_mode", "return_indices", "count_include_pad", "align_corners", "squared")


def floats(name, value, axes, optional=False):
    yield (*([] if optional else [None]), 1.5, "x", [[[[1.0]]]]), TypeError, f"{name} must be a NumPy array, got "
    for dtype in (np.int64, np.uint8, np.bool_, np.float16, np.complex64, ">f4", ">f8", object):
        message = f"{name} must be float32 or float64 in native byte order, got {np.dtype(dtype).str}"
        yield (value.astype(dtype),), TypeError, message
    huge = np.broadcast_to(np.float64(0), (*[1] * (value.ndim - 1), 2**31))
    yield (huge,), ValueError, f"{name} must have fewer than 2**31 entries on each axis, got shape ({huge.shape[0]},"
    yield axes, ValueError, "must ..., got "


def pairs(name, least):
    numbers = 1.5, 2.0, float("nan"), float("inf"), True, np.True_, np.array([1, 1]), 1j, {1: 2}
    yield numbers, TypeError, f"{name} must be an integer...got "
    yield ((1, 1.5), (1, None), (1, "1"), (1, True)), TypeError, f"{name}[1] must be an integer, got "
    yield ((), (1,), (1, 1, 1)), ValueError, f"{name} must be an integer or a pair, got ("
    yield (least - 1, -(2**40)), ValueError, f"{name} must be at least {least}, got "
    yield (2**31, 2**40, 2**70), ValueError, f"{name} must be at most 2147483647, got "
    yield ((1, least - 1),), ValueError, f"{name}[1] must be at least {least}, got {least - 1}"
    yield ((1, 2**31),), ValueError, f"{name}[1] must be at most 2147483647, got 2147483648"


def padding(name, sides=True):
    yield from pairs(name, 0)
    yield ("full", ""), ValueError, f"{name} must be an integer, a pair...got '"
    if sides:
        yield (((1, 1), (1, -1)),), ValueError, f"{name}[1][1] must be at least 0, got -1"
        yield (((1, 1), (1, 1, 1)),), ValueError, f"{name}[1] must be an integer or a pair, got (1, 1, 1)"


def factors(name):
    yield ("2", True, 1j, [None, 1], np.ones(2)), TypeError, f"{name} must be a number or a pair, got "
    yield ((), (1,), (1, 2, 3)), ValueError, f"{name} must be a number or a pair, got ("
    yield (0, -1.0, float("nan"), float("inf"), (1, -2)), ValueError, f"{name} must be positive and finite, got "
    yield (1e-9, 2.0**40, (1, 0.01)), ValueError, f"{name} must "


def divisors(name):
    yield (1.0, "1", True, (1, 1)), TypeError, f"{name} must be an integer, got "
    yield (0,), ValueError, f"{name} must be None or an integer other than 0, got 0"
    yield (2**70, -(2**70)), ValueError, f"{name} must be at "


def shapes(name):
    yield (None, 5, "NCHW", np.zeros(4)), TypeError, f"{name} must be a shape with the axes ..., got "
    yield ((1, 2),), ValueError, f"{name} must have the 4 axes ..., got (1, 2)"
    yield ((1, 2, 3.0, 4),), TypeError, f"{name}[2] must be an integer, got 3.0"
    yield ((1, 2, 3, -4),), ValueError, f"{name}[3] must be at least 0, got -4"
    yield ((1, 2, 3, 2**31),), ValueError, f"{name}[3] must be at most 2147483647, got 2147483648"


def integers(name, value, end):
    yield (None, 1, [1]), TypeError, f"{name} must be a NumPy array of integers, got "
    yield [value.astype(dtype) for dtype in ("f4", "?", "c8")], TypeError, f"{name} must be integers, got "
    yield (value[:1], value[:, :1], value[None]), ValueError, "must have shape (...got ("
    for dtype, wrong in (("i1", -1), ("u1", end), ("i8", 2**33), ("i8", -(2**63)), ("u8", 2**63), (">i4", end)):
        bad = np.zeros(value.shape, dtype)
        bad.flat[-1] = wrong
        yield (bad,), IndexError, f"{name} must be ...0..{end - 1}...got {wrong}"


def number(name, least):
    yield (None, 1.0, "1", True, (1, 1)), TypeError, f"{name} must be an integer, got "
    yield (least - 1,), ValueError, f"{name} must be at least {least}, got {least - 1}"
    yield (2**70,), ValueError, f"{name} must be at most ...got 1180591620717411303424"


def reals(name, low=None, high=None):
    yield (None, "1", True, (1, 1), 1j, np.ones(1)), TypeError, f"{name} must be a number, got "
    yield (float("nan"), float("inf"), -float("inf"), 10**400), ValueError, f"{name} must be finite, got "
    if low is not None:
        yield (low - 1e-9, -1), ValueError, f"{name} must be at least {low}, got -"
    if high is not None:
        yield (high + 1e-9, 2), ValueError, f"{name} must be at most {high}, got "


def words(name, allowed):
    yield ("gelu", "", 1, True, [], np.ones(2)), ValueError, f"{name} must be one of {allowed}, got "


def flags(name):
    yield (None, 1, "yes", np.zeros(3)), TypeError, f"{name} must be True or False, got "


def out(name):
    bad = [1.0], np.zeros(3, "f4"), np.zeros(3, ">f8")
    yield bad, TypeError, f"{name} must be a NumPy array of float64, got "
    yield (np.zeros(3),), ValueError, f"{name} must have shape (..., got (3,)"


def lists(name, x):
    yield (None, x, [], iter([x])), TypeError, f"{name} must be a list of at least one array, got "
    for values, error, message in floats(f"{name}[1]", x, [np.zeros(()), x[None]]):
        yield [[x, bad] for bad in values], error, message
    yield ([x, x.astype("f4")],), TypeError, f"{name}[1] must be float64 like the first array, got float32"
    yield ([x, x[..., 1:]],), ValueError, f"{name}[1] must have shape (2, 4, 6, 7), got (2, 4, 6, 6)"
