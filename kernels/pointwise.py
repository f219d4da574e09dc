"""Operators that look at one number at a time, in arrays of any shape: rules and docstrings."""

from . import base, reference
from .arguments import Arguments
from .case import Case, Output
from .cpu import pointwise as cpu
from .cuda import pointwise as cuda
from .layout import Array
from .op import Variant, operator

LARGEST_SEED = 2**64 - 1


def _elementwise(
    checked: tuple[tuple[Array, ...], Output, tuple[int, ...]],
    algorithm: str,
    out: Array | None,
    **parameters: float,
) -> Case:
    arguments, output, maps = checked
    size = arguments[0].size
    return Case(arguments, (output,), parameters, maps, size, algorithm, out, elementwise=True)


@operator(
    reference=reference.relu_input,
    variants=[Variant("direct", cpu.relu_input), Variant("cuda", cuda.relu_input, device="cuda")],
)
def relu_input(y: Array, grad: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """dx[...] = 0 where y[...] <= 0, else grad[...] (so also where y is NaN).

    The gradient of `relu`, from its result y. y, grad: one shape. Returns the same shape in the format of `grad`;
    out may be `grad` itself.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    check = Arguments("relu_input")
    return _elementwise(check.elementwise("grad", y=y, grad=grad), algorithm, out)


@operator(
    reference=reference.relu,
    variants=[Variant("direct", cpu.relu), Variant("cuda", cuda.relu, device="cuda")],
    gradients={"x": relu_input},
)
def relu(x: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """y[...] = max(x[...], 0); NaN stays NaN.

    Half-wave rectification, as `torch.nn.functional.relu`.

    x: any shape, as (N, C, H, W), float32 or float64, any strides. Returns the same shape in the format of x; out
    may be x itself.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Nair & Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010).

    >>> import numpy as np
    >>> from upconv.kernels import relu
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    check = Arguments("relu")
    return _elementwise(check.elementwise("x", x=x), algorithm, out)


@operator(
    reference=reference.leaky_relu_input,
    variants=[Variant("direct", cpu.leaky_relu_input), Variant("cuda", cuda.leaky_relu_input, device="cuda")],
)
def leaky_relu_input(
    x: Array, grad: Array, *, negative_slope: float = 0.01, algorithm: str = "auto", out: Array | None = None
) -> Case:
    """dx[...] = grad[...] where x[...] > 0, else s grad[...], s being negative_slope.

    The gradient of `leaky_relu`, from what it was given. x, grad: one shape. Returns the same shape in the format
    of `grad`; out may be `grad` itself.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    check = Arguments("leaky_relu_input")
    negative_slope = check.real("negative_slope", negative_slope)
    return _elementwise(check.elementwise("grad", x=x, grad=grad), algorithm, out, negative_slope=negative_slope)


@operator(
    reference=reference.leaky_relu,
    variants=[Variant("direct", cpu.leaky_relu), Variant("cuda", cuda.leaky_relu, device="cuda")],
    gradients={"x": leaky_relu_input},
)
def leaky_relu(x: Array, *, negative_slope: float = 0.01, algorithm: str = "auto", out: Array | None = None) -> Case:
    """y[...] = x[...] where x[...] > 0, else s x[...], s being negative_slope.

    As `torch.nn.functional.leaky_relu`. negative_slope: a finite number.

    x: any shape, as (N, C, H, W), float32 or float64, any strides. Returns the same shape in the format of x; out
    may be x itself.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Maas, Hannun & Ng, "Rectifier nonlinearities improve neural network acoustic models" (2013).

    >>> import numpy as np
    >>> from upconv.kernels import leaky_relu
    >>> leaky_relu(np.array([-1.0, 0.0, 2.0]), negative_slope=0.5)
    array([-0.5,  0. ,  2. ])
    """
    check = Arguments("leaky_relu")
    negative_slope = check.real("negative_slope", negative_slope)
    return _elementwise(check.elementwise("x", x=x), algorithm, out, negative_slope=negative_slope)


@operator(
    reference=reference.sigmoid_input,
    variants=[Variant("direct", cpu.sigmoid_input), Variant("cuda", cuda.sigmoid_input, device="cuda")],
)
def sigmoid_input(y: Array, grad: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """dx[...] = grad[...] y[...] (1 - y[...]).

    The gradient of `sigmoid`, from its result y. y, grad: one shape. Returns the same shape in the format of
    `grad`; out may be `grad` itself.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    check = Arguments("sigmoid_input")
    return _elementwise(check.elementwise("grad", y=y, grad=grad), algorithm, out)


@operator(
    reference=reference.sigmoid,
    variants=[Variant("direct", cpu.sigmoid), Variant("cuda", cuda.sigmoid, device="cuda")],
    gradients={"x": sigmoid_input},
)
def sigmoid(x: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """y[...] = 1 / (1 + exp(-x[...])).

    The logistic function, as `torch.sigmoid`, to three units in the last place; it overflows nowhere.

    x: any shape, as (N, C, H, W), float32 or float64, any strides. Returns the same shape in the format of x; out
    may be x itself.

    Raises ValueError or TypeError naming the argument where one does not fit.

    >>> import numpy as np
    >>> from upconv.kernels import sigmoid
    >>> sigmoid(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    check = Arguments("sigmoid")
    return _elementwise(check.elementwise("x", x=x), algorithm, out)


@operator(
    reference=reference.tanh_input,
    variants=[Variant("direct", cpu.tanh_input), Variant("cuda", cuda.tanh_input, device="cuda")],
)
def tanh_input(y: Array, grad: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """dx[...] = grad[...] (1 - y[...]**2).

    The gradient of `tanh`, from its result y. y, grad: one shape. Returns the same shape in the format of `grad`;
    out may be `grad` itself.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    check = Arguments("tanh_input")
    return _elementwise(check.elementwise("grad", y=y, grad=grad), algorithm, out)


@operator(
    reference=reference.tanh,
    variants=[Variant("direct", cpu.tanh), Variant("cuda", cuda.tanh, device="cuda")],
    gradients={"x": tanh_input},
)
def tanh(x: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """y[...] = tanh(x[...]).

    As `torch.tanh`, to three units in the last place.

    x: any shape, as (N, C, H, W), float32 or float64, any strides. Returns the same shape in the format of x; out
    may be x itself.

    Raises ValueError or TypeError naming the argument where one does not fit.

    >>> import numpy as np
    >>> from upconv.kernels import tanh
    >>> tanh(np.array([-1e4, 0.0, 1e4]))
    array([-1.,  0.,  1.])
    """
    check = Arguments("tanh")
    return _elementwise(check.elementwise("x", x=x), algorithm, out)


@operator(reference=reference.add, variants=[Variant("direct", cpu.add), Variant("cuda", cuda.add, device="cuda")])
def add(x: Array, y: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """z[...] = x[...] + y[...].

    The sum of two arrays of one shape, as where two branches of a network meet.

    x, y: any shape, as (N, C, H, W), float32 or float64, any strides. Returns the same shape in the format of x; out
    may be x or y itself.

    Raises ValueError or TypeError naming the argument where one does not fit.

    >>> import numpy as np
    >>> from upconv.kernels import add
    >>> add(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([4., 6.])
    """
    return _elementwise(Arguments("add").elementwise("x", x=x, y=y), algorithm, out)


def _dropout(name: str, like: str, value: Array, p: float, seed: int, algorithm: str, out: Array | None) -> Case:
    check = Arguments(name)
    parameters = {"p": check.real("p", p, 0, 1), "seed": check.integer("seed", seed, 0, LARGEST_SEED)}
    return _elementwise(check.elementwise(like, **{like: value}), algorithm, out, **parameters)


@operator(
    reference=reference.dropout,
    base=base.dropout,
    variants=[Variant("direct", cpu.dropout), Variant("cuda", cuda.dropout, device="cuda")],
)
def dropout_input(grad: Array, *, p: float = 0.5, seed: int, algorithm: str = "auto", out: Array | None = None) -> Case:
    """dx[...] = grad[...] m[...] / (1 - p), m being that of `dropout` with the same p and seed.

    The gradient of `dropout`. grad: any shape. Returns the same shape in the format of `grad`; out may be `grad`
    itself.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    return _dropout("dropout_input", "grad", grad, p, seed, algorithm, out)


@operator(
    reference=reference.dropout,
    variants=[Variant("direct", cpu.dropout), Variant("cuda", cuda.dropout, device="cuda")],
    gradients={"x": dropout_input},
)
def dropout(x: Array, *, p: float = 0.5, seed: int, algorithm: str = "auto", out: Array | None = None) -> Case:
    """y[...] = x[...] m[...] / (1 - p), each m[...] being 0 with probability p, else 1.

    As `torch.nn.functional.dropout` in training, with numbers of its own: m depends on p, the seed and the place in the
    logical array, row by row, so that the memory format and the threads make no difference.

    x: any shape, as (N, C, H, W), float32 or float64, any strides. p: 0..1. seed: an integer in 0..2**64-1.
    Returns the same shape in the format of x; out may be x itself.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014); the numbers:
    Steele, Lea & Flood, "Fast splittable pseudorandom number generators" (2014).

    >>> import numpy as np
    >>> from upconv.kernels import dropout
    >>> dropout(np.ones(6), p=0.5, seed=1)
    array([2., 0., 0., 2., 0., 2.])
    """
    return _dropout("dropout", "x", x, p, seed, algorithm, out)
