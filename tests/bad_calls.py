"""Calls that are wrong: every argument of every operator, and arguments that do not fit each other.

The rows of single arguments are in bad_arguments.py. In the messages "..." stands for anything.
"""

import numpy as np
from bad_arguments import refused, right


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


X, Y = zeros(2, 4, 6, 7), zeros(2, 6, 4, 5)

# Arguments that do not fit each other, as (what is changed, message).

OIHW = "weight must be (out, in / groups, kh, kw) for 4 input channels in "
IOHW = "weight must be (in, out / groups, kh, kw) for 4 input channels in "
MAP_GRAD = "grad must have shape (2, 6, 4, 5), got "
UP_GRAD = "grad must have shape (2, 6, 8, 9), its last axes larger by output_padding below [1, 1]; got "
TOO_LARGE = "the result must have fewer than 2**31 rows and columns, got "
OUTSIDE = "a window lies wholly in the padding: padding ((1, 1), (1, 1)) with dilation "
one = {"x": zeros(2, 4, 1, 1), "indices": zeros(2, 4, 1, 1, dtype=int), "stride": 1, "padding": 1}
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
        ({"padding": (1, 2)}, "padding must be at most half of kernel_size, got (1, 2)"),
        ({"x": zeros(1, 1, 2, 2), "padding": 1, "dilation": 3}, OUTSIDE + "(3, 3)"),
        ({"x": zeros(1, 1, 0, 2), "padding": 1}, OUTSIDE + "(1, 1)"),
    ],
    "max_pool2d_input": [({"grad": zeros(2, 4, 3, 4)}, "grad must have shape (2, 4, 3, 3), got (2, 4, 3, 4)")],
    "avg_pool2d": [
        (
            {"kernel_size": (7, 1)},
            "kernel_size with its dilation covers (7, 1) pixels, more than the padded map (6, 7)",
        ),
        ({"padding": (1, 2)}, "padding must be at most half of kernel_size, got (1, 2)"),
    ],
    "avg_pool2d_input": [({"grad": zeros(2, 4, 3, 4)}, "grad must have shape (2, 4, 3, 3), got (2, 4, 3, 4)")],
    "global_avg_pool2d": [({"x": zeros(2, 4, 0, 7)}, "x must ..., got ")],
    "global_max_pool2d": [({"x": zeros(2, 4, 6, 0)}, "x must ..., got ")],
    "global_avg_pool2d_input": [({"grad": zeros(2, 4, 1, 2)}, "grad must have shape (2, 4, 1, 1), got (2, 4, 1, 2)")],
    "global_max_pool2d_input": [({"grad": zeros(2, 4, 1, 2)}, "grad must have shape (2, 4, 1, 1), got (2, 4, 1, 2)")],
    "max_unpool2d": [
        ({"padding": 2}, "padding must be at most half of kernel_size, got 2"),
        ({"output_size": (8, 6)}, "output_size must be less than one stride (2, 2) away from (6, 6), got (8, 6)"),
        (one, "the result would have size (0, 0); padding 1 is too large for it"),
    ],
    "max_unpool2d_input": [
        (
            {"indices": np.broadcast_to(np.int8(0), (2, 4, 6, 2**31))},
            "indices must have fewer than 2**31 entries on each axis, got shape (2, 4, 6, 2147483648)",
        ),
    ],
    "unpool2d": [({"kernel_size": 2**30}, TOO_LARGE)],
    "unpool2d_input": [({"kernel_size": (5, 2)}, "kernel_size must divide the size of grad (12, 14), got (5, 2)")],
    "interpolate": [
        ({"size": 2}, "size or scale_factor must be given, one of them, got both"),
        ({"scale_factor": None}, "size or scale_factor must be given, one of them, got neither"),
        ({"align_corners": True}, "align_corners must be False with mode 'nearest', which has no use for it, got True"),
        ({"scale_factor": (0.1, 1)}, "scale_factor must leave at least 1 and fewer than 2**31 rows and columns, got "),
        ({"x": zeros(2, 4, 0, 7)}, "x must have at least one row and one column, got shape (2, 4, 0, 7)"),
    ],
    "interpolate_input": [
        ({"grad": zeros(2, 4, 12, 13)}, "grad must have shape (2, 4, 12, 14), got (2, 4, 12, 13)"),
        ({"input_shape": (2, 4, 6, 0)}, "input_shape must have at least one row and one column"),
    ],
    "linear": [
        ({"weight": zeros(6, 6)}, "weight must be (out, in) with 7 inputs, as x on its last axis, got (6, 6)"),
        ({"bias": zeros(7)}, "bias must have shape (6,), got (7,)"),
    ],
    "linear_weight": [
        (
            {"x": zeros(0, 2**31 - 1), "grad": zeros(0, 2**31 - 1)},
            "the result must have fewer than 2**63 bytes, got shape (2147483647, 2147483647)",
        )
    ],
    "batch_norm": [
        ({"mean": zeros(5)}, "mean must have shape (4,), got (5,)"),
        ({"weight": zeros(3)}, "weight must have shape (4,), got (3,)"),
    ],
    "batch_norm_training": [
        ({"x": zeros(1, 4, 1, 1)}, "x must have more than one number for each channel, got shape (")
    ],
    "batch_norm_training_input": [({"eps": 0}, "eps must be greater than 0, got 0")],
    "cross_entropy": [
        ({"weight": zeros(5)}, "weight must have shape (4,), got (5,)"),
        ({"weight": np.array([1, np.nan, 1, 1])}, "weight must be finite, got nan"),
    ],
    "binary_cross_entropy_with_logits": [
        ({"weight": zeros(5)}, "weight must broadcast to the shape of x, (2, 4, 6, 7), got (5,)"),
        ({"pos_weight": np.full((4, 1, 1), np.inf)}, "pos_weight must be finite, got inf"),
    ],
    **{
        operator: [({name: zeros(2, 4, 6, 5)}, f"{name} must have shape (2, 4, 6, 7), got (2, 4, 6, 5)")]
        for name, operators in (
            ("grad", ("relu_input", "leaky_relu_input", "sigmoid_input", "tanh_input", "bias_relu_input")),
            ("grad", ("softmax_input", "log_softmax_input", "batch_norm_input")),
            ("target", ("l1_loss", "l1_loss_input", "l1_loss_target")),
            ("target", ("mse_loss", "mse_loss_input", "mse_loss_target")),
            ("y", ("add",)),
        )
        for operator in operators
    },
}


def table(operator):
    """(what is changed of a call that is right, exception, message) of each row."""
    call = right(operator)
    for name in call:
        besides = {"scale_factor": None} if name == "size" else {}
        for values, error, message in refused(operator, name):
            yield from (({name: value} | besides, error, message) for value in values)
    yield from ((changes, ValueError, message) for changes, message in TOGETHER.get(operator, ()))
    arrays = [name for name, value in call.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
    for name in arrays if len(arrays) > 1 else ():
        yield {name: call[name].astype(np.float32)}, TypeError, "must be ... like the first array, got "
