"""Losses that compare two arrays of one shape number by number: rules and docstrings."""

from dataclasses import replace
from typing import Any

from . import base, reference
from .arguments import Arguments
from .case import Case, Output
from .cpu import elementwise_loss as cpu
from .cuda import elementwise_loss as cuda
from .layout import Array
from .namespace import namespace
from .op import Variant, operator

REDUCTIONS = ("mean", "sum")


def _compared(
    name: str, x: Any, target: Any, reduction: Any, algorithm: str, *, gradient: bool, flops: int, **weights: Any
) -> Case:
    """The call in normal form; weights that are None stay None, after those that are not."""
    check = Arguments(name)
    reduction = check.choice("reduction", reduction, REDUCTIONS)
    x = check.array("x", x, "...")
    given = {key: _weights(check, key, value, x) for key, value in weights.items() if value is not None}
    arrays, output, maps = check.elementwise("x", x=x, target=target, **given)
    by_name = dict(zip(("x", "target", *given), arrays, strict=True))
    arguments = tuple(by_name.get(key) for key in ("x", "target", *weights))
    return Case(
        arguments=arguments,
        outputs=(output if gradient else Output((), x.dtype),),
        parameters={"reduction": reduction},
        maps=tuple(i for i, each in enumerate(arguments) if maps and each is not None),
        flops=flops * x.size,
        algorithm=algorithm,
    )


def _weights(check: Arguments, name: str, value: Any, x: Array) -> Array:
    """`value`, finite, as an array of the shape of x."""
    value = check.array(name, value, "...", x.dtype)
    check.finite(name, value)
    try:
        return namespace(value).broadcast_to(value, x.shape)
    except ValueError:
        check.fail(f"{name} must broadcast to the shape of x, {x.shape}, got {value.shape}")


@operator(
    reference=reference.l1_loss_input,
    variants=[Variant("direct", cpu.l1_loss_input), Variant("cuda", cuda.l1_loss_input, device="cuda")],
)
def l1_loss_input(x: Array, target: Array, *, reduction: str = "mean", algorithm: str = "auto") -> Case:
    """dx[i] = sign(x[i] - target[i]) / M; 0 where they are equal or either is NaN. M = 1 for reduction "sum".

    The gradient of `l1_loss` with respect to x. M is the count of numbers. Arguments and errors as there. Returns the
    shape of x in its format.

    >>> import numpy as np
    >>> from upconv.kernels import l1_loss_input
    >>> l1_loss_input(np.array([1.0, 2.0]), np.array([3.0, 2.0]))
    array([-0.5,  0. ])
    """
    return _compared("l1_loss_input", x, target, reduction, algorithm, gradient=True, flops=2)


@operator(
    reference=reference.l1_loss_input,
    base=base.l1_loss_input,
    variants=[Variant("direct", cpu.l1_loss_input), Variant("cuda", cuda.l1_loss_input, device="cuda")],
)
def l1_loss_target(x: Array, target: Array, *, reduction: str = "mean", algorithm: str = "auto") -> Case:
    """dt[i] = sign(target[i] - x[i]) / M; 0 where they are equal or either is NaN. M = 1 for reduction "sum".

    The gradient of `l1_loss` with respect to target: `l1_loss_input` with the two exchanged. Arguments and errors as
    there. Returns the shape of x in its format.

    >>> import numpy as np
    >>> from upconv.kernels import l1_loss_target
    >>> l1_loss_target(np.array([1.0, 2.0]), np.array([3.0, 2.0]))
    array([0.5, 0. ])
    """
    case = _compared("l1_loss_target", x, target, reduction, algorithm, gradient=True, flops=2)
    return replace(case, arguments=case.arguments[::-1])


@operator(
    reference=reference.l1_loss,
    variants=[Variant("direct", cpu.l1_loss), Variant("cuda", cuda.l1_loss, device="cuda")],
    gradients={"x": l1_loss_input, "target": l1_loss_target},
)
def l1_loss(x: Array, target: Array, *, reduction: str = "mean", algorithm: str = "auto") -> Case:
    """L = sum over i of |x[i] - target[i]|, over their count if "mean".

    The mean absolute error, as `torch.nn.functional.l1_loss`, but for arrays of different shapes, which are refused.
    The sum is float64, and so are the differences.

    x, target: arrays of one shape, of any number of axes, float32 or float64, any strides.
    reduction: "mean" (NaN for empty arrays, as in PyTorch) or "sum".

    Returns a 0-d array of their dtype.

    Raises ValueError or TypeError naming the argument where one does not fit.

    >>> import numpy as np
    >>> from upconv.kernels import l1_loss
    >>> l1_loss(np.array([1.0, 2.0]), np.array([3.0, 2.0]))
    array(1.)
    """
    return _compared("l1_loss", x, target, reduction, algorithm, gradient=False, flops=3)


@operator(
    reference=reference.mse_loss_input,
    variants=[Variant("direct", cpu.mse_loss_input), Variant("cuda", cuda.mse_loss_input, device="cuda")],
)
def mse_loss_input(x: Array, target: Array, *, reduction: str = "mean", algorithm: str = "auto") -> Case:
    """dx[i] = 2 (x[i] - target[i]) / M. M = 1 for reduction "sum".

    The gradient of `mse_loss` with respect to x. M is the count of numbers. Arguments and errors as there. Returns the
    shape of x in its format.

    >>> import numpy as np
    >>> from upconv.kernels import mse_loss_input
    >>> mse_loss_input(np.array([1.0, 2.0]), np.array([3.0, 2.0]))
    array([-2.,  0.])
    """
    return _compared("mse_loss_input", x, target, reduction, algorithm, gradient=True, flops=2)


@operator(
    reference=reference.mse_loss_input,
    base=base.mse_loss_input,
    variants=[Variant("direct", cpu.mse_loss_input), Variant("cuda", cuda.mse_loss_input, device="cuda")],
)
def mse_loss_target(x: Array, target: Array, *, reduction: str = "mean", algorithm: str = "auto") -> Case:
    """dt[i] = 2 (target[i] - x[i]) / M. M = 1 for reduction "sum".

    The gradient of `mse_loss` with respect to target: `mse_loss_input` with the two exchanged. Arguments and errors as
    there. Returns the shape of x in its format.

    >>> import numpy as np
    >>> from upconv.kernels import mse_loss_target
    >>> mse_loss_target(np.array([1.0, 2.0]), np.array([3.0, 2.0]))
    array([2., 0.])
    """
    case = _compared("mse_loss_target", x, target, reduction, algorithm, gradient=True, flops=2)
    return replace(case, arguments=case.arguments[::-1])


@operator(
    reference=reference.mse_loss,
    variants=[Variant("direct", cpu.mse_loss), Variant("cuda", cuda.mse_loss, device="cuda")],
    gradients={"x": mse_loss_input, "target": mse_loss_target},
)
def mse_loss(x: Array, target: Array, *, reduction: str = "mean", algorithm: str = "auto") -> Case:
    """L = sum over i of (x[i] - target[i])^2, over their count if "mean".

    The mean squared error, as `torch.nn.functional.mse_loss`, but for arrays of different shapes, which are refused.
    The sum is float64, and so are the differences and their squares.

    x, target: arrays of one shape, of any number of axes, float32 or float64, any strides.
    reduction: "mean" (NaN for empty arrays, as in PyTorch) or "sum".

    Returns a 0-d array of their dtype.

    Raises ValueError or TypeError naming the argument where one does not fit.

    >>> import numpy as np
    >>> from upconv.kernels import mse_loss
    >>> mse_loss(np.array([1.0, 2.0]), np.array([3.0, 2.0]))
    array(2.)
    """
    return _compared("mse_loss", x, target, reduction, algorithm, gradient=False, flops=3)


@operator(
    reference=reference.binary_cross_entropy_with_logits_input,
    variants=[
        Variant("direct", cpu.binary_cross_entropy_with_logits_input),
        Variant("cuda", cuda.binary_cross_entropy_with_logits_input, device="cuda"),
    ],
)
def binary_cross_entropy_with_logits_input(
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
    algorithm: str = "auto",
) -> Case:
    """dx[i] = weight[i] ((1 - t[i]) s(x[i]) - pos_weight[i] t[i] s(-x[i])) / M, with s(x) = 1 / (1 + exp(-x)).

    The gradient of `binary_cross_entropy_with_logits` with respect to x; t is target, and M is the count of numbers, or
    1 for reduction "sum". Arguments and errors as there. Returns the shape of x in its format.

    >>> import numpy as np
    >>> from upconv.kernels import binary_cross_entropy_with_logits_input
    >>> binary_cross_entropy_with_logits_input(np.zeros(2), np.array([0.0, 1.0]))
    array([ 0.25, -0.25])
    """
    name, weights = "binary_cross_entropy_with_logits_input", {"weight": weight, "pos_weight": pos_weight}
    return _compared(name, x, target, reduction, algorithm, gradient=True, flops=8, **weights)


@operator(
    reference=reference.binary_cross_entropy_with_logits,
    variants=[
        Variant("direct", cpu.binary_cross_entropy_with_logits),
        Variant("cuda", cuda.binary_cross_entropy_with_logits, device="cuda"),
    ],
    gradients={"x": binary_cross_entropy_with_logits_input},
)
def binary_cross_entropy_with_logits(
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
    algorithm: str = "auto",
) -> Case:
    """L = sum over i of weight[i] ((1 - t[i]) log(1 + exp(x[i])) + pos_weight[i] t[i] log(1 + exp(-x[i]))).

    Sigmoid and binary cross-entropy in one, as `torch.nn.functional.binary_cross_entropy_with_logits`; t is target. The
    logarithms are taken as max(x, 0) + log(1 + exp(-|x|)), which neither overflows nor cancels. The sum is float64.

    x, target: arrays of one shape, of any number of axes, float32 or float64, any strides; target as a rule in 0..1.
    weight, pos_weight: finite arrays that broadcast to that shape, as in PyTorch: (C, 1, 1) is one number for each
    channel of (N, C, H, W), (C,) for each of (N, C). None: ones.
    reduction: "mean", over the count of numbers whatever their weights (NaN for empty arrays, as in PyTorch), or "sum".

    Returns a 0-d array of their dtype. Infinite x give the limit where there is one, and else NaN.

    Raises ValueError or TypeError naming the argument where one does not fit.

    >>> import numpy as np
    >>> from upconv.kernels import binary_cross_entropy_with_logits
    >>> binary_cross_entropy_with_logits(np.array([0.0, 1e4]), np.array([1.0, 1.0]), reduction="sum").round(4)
    np.float64(0.6931)
    """
    name, weights = "binary_cross_entropy_with_logits", {"weight": weight, "pos_weight": pos_weight}
    return _compared(name, x, target, reduction, algorithm, gradient=False, flops=10, **weights)
