"""Batch normalisation, with statistics that are given and with those of the batch: rules and docstrings."""

from math import prod
from typing import Any

from . import reference
from .arguments import Arguments
from .case import Case, Output
from .cpu import batchnorm as cpu
from .cuda import batchnorm as cuda
from .layout import Array, Shape, format_of
from .op import Variant, operator

ACTIVATIONS = (None, "relu")


class _Checked:
    """The arguments that the operators share, as they were accepted; the first is always x."""

    def __init__(self, name: str, x: Any) -> None:
        """Check x: (N, C) or (N, C, ...)."""
        self.check = Arguments(name)
        self.x = self.check.per_class("x", x, "C")
        self.shape: Shape = x.shape

    def each(self, name: str, value: Any) -> Array:
        """One number for each channel."""
        value = self.check.array(name, value, "C", self.x.dtype)
        self.check.shape(name, value, self.x.shape[1:2])
        return value

    def optional(self, name: str, value: Any) -> Array | None:
        """The same, or None."""
        return None if value is None else self.each(name, value)

    def grad(self, grad: Any) -> Array:
        """The gradient of the result."""
        grad = self.check.array("grad", grad, "...", self.x.dtype)
        self.check.shape("grad", grad, self.shape)
        return grad.reshape(self.x.shape)

    def parameters(self, eps: Any, *, positive: bool) -> dict[str, Any]:
        """eps, as PyTorch allows it."""
        eps = self.check.real("eps", eps, 0)
        if positive and eps == 0:
            self.check.fail("eps must be greater than 0, got 0")
        return {"eps": eps}

    def like(self, array: Array) -> Output:
        """An output with the shape of x in the format of `array`."""
        return Output(self.x.shape, self.x.dtype, format_of(array), self.shape)

    @property
    def channel(self) -> Output:
        """An output of one number for each channel."""
        return Output(self.x.shape[1:2], self.x.dtype)


@operator(
    reference=reference.batch_norm_input,
    variants=[Variant("direct", cpu.batch_norm_input), Variant("cuda", cuda.batch_norm_input, device="cuda")],
)
def batch_norm_input(
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None,
    grad: Array,
    *,
    eps: float = 1e-5,
    algorithm: str = "auto",
) -> Case:
    """dx[n,c,i,j] = weight[c] r[c] grad[n,c,i,j], with r[c] = 1 / sqrt(variance[c] + eps).

    The gradients of `batch_norm` without an activation (undo that by `relu_input` first) with respect to x, weight and
    bias: dweight[c] = r[c] sum over n,i,j of grad[n,c,i,j] (x[n,c,i,j] - mean[c]), dbias[c] = sum of grad[n,c,i,j].
    mean and variance are constants. Arguments as there; grad: the shape of x.

    Returns (dx, dweight, dbias): the shape of x in the format of `grad`, and (C,) twice, also where weight is None.

    Raises ValueError or TypeError naming the argument where one does not fit.

    >>> import numpy as np
    >>> from upconv.kernels import batch_norm_input
    >>> x, one = np.array([[2.0], [4.0]]), np.ones(1)
    >>> batch_norm_input(x, one, one, 3 * one, x, eps=0)
    (array([[ 6.],
           [12.]]), array([14.]), array([6.]))
    """
    checked = _Checked("batch_norm_input", x)
    constants = checked.each("mean", mean), checked.each("variance", variance), checked.optional("weight", weight)
    grad = checked.grad(grad)
    return Case(
        arguments=(checked.x, *constants, grad),
        outputs=(checked.like(grad), checked.channel, checked.channel),
        parameters=checked.parameters(eps, positive=False),
        maps=(0, 4),
        flops=5 * grad.size,
        algorithm=algorithm,
    )


@operator(
    reference=reference.batch_norm,
    variants=[Variant("direct", cpu.batch_norm), Variant("cuda", cuda.batch_norm, device="cuda")],
    gradients={("x", "weight", "bias"): batch_norm_input},
)
def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    algorithm: str = "auto",
    out: Array | None = None,
) -> Case:
    """y[n,c,i,j] = f((x[n,c,i,j] - mean[c]) / sqrt(variance[c] + eps) weight[c] + bias[c]).

    Batch normalisation with given statistics, those of the training as a rule: as `torch.nn.functional.batch_norm` with
    training=False.

    x: (N, C, H, W), (N, C) or (N, C, ...), float32 or float64, any strides.
    mean, variance: (C,), of x's dtype. A negative variance + eps gives NaN.
    weight, bias: (C,), or None for 1 and 0.
    eps: at least 0.
    activation: None, or "relu" for f(a) = max(a, 0), NaN staying NaN.
    out: an array of the result's shape and dtype to write it into; it may be x itself.

    Returns y, the shape and the format of x.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Ioffe & Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
    shift" (2015), algorithm 2.

    >>> import numpy as np
    >>> from upconv.kernels import batch_norm
    >>> batch_norm(np.array([[1.0, 6.0], [3.0, 2.0]]), np.array([1.0, 2.0]), np.array([1.0, 4.0]), eps=0)
    array([[0., 2.],
           [2., 0.]])
    """
    checked = _Checked("batch_norm", x)
    constants = checked.each("mean", mean), checked.each("variance", variance)
    affine = checked.optional("weight", weight), checked.optional("bias", bias)
    activation = checked.check.choice("activation", activation, ACTIVATIONS)
    return Case(
        arguments=(checked.x, *constants, *affine),
        outputs=(checked.like(checked.x),),
        parameters=checked.parameters(eps, positive=False) | {"activation": activation},
        maps=(0,),
        flops=3 * checked.x.size,
        algorithm=algorithm,
        out=out,
        elementwise=True,
    )


@operator(
    reference=reference.batch_norm_training_input,
    variants=[
        Variant("direct", cpu.batch_norm_training_input),
        Variant("cuda", cuda.batch_norm_training_input, device="cuda"),
    ],
)
def batch_norm_training_input(
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None,
    grad: Array,
    *,
    eps: float = 1e-5,
    algorithm: str = "auto",
) -> Case:
    """dx[n,c,i,j] = weight[c] r[c] (grad[n,c,i,j] - dbias[c] / M - q[n,c,i,j] dweight[c] / M), M = N H W.

    The gradients of `batch_norm_training` without an activation (undo that by `relu_input` first) with respect to x,
    weight and bias: r[c] = 1 / sqrt(variance[c] + eps), q[n,c,i,j] = (x[n,c,i,j] - mean[c]) r[c], dweight[c] = sum over
    n,i,j of grad[n,c,i,j] q[n,c,i,j], dbias[c] = sum of grad[n,c,i,j].

    mean, variance: as `batch_norm_training` gave them. What the mean lost when it was rounded is found again: x - mean
    is taken less its own mean. The rest as there; grad: the shape of x.

    Returns (dx, dweight, dbias): the shape of x in the format of `grad`, and (C,) twice, also where weight is None.
    The sums are float64, and their order depends on shape and format alone.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Ioffe & Szegedy (2015), section 3.

    >>> import numpy as np
    >>> from upconv.kernels import batch_norm_training, batch_norm_training_input
    >>> x, grad = np.array([[1.0], [2.0], [6.0]]), np.array([[1.0], [0.0], [0.0]])
    >>> _, mean, variance = batch_norm_training(x)
    >>> dx, _, dbias = batch_norm_training_input(x, mean, variance, None, grad)
    >>> dx.round(3).ravel(), dbias
    (array([ 0.176, -0.22 ,  0.044]), array([1.]))
    """
    checked = _Checked("batch_norm_training_input", x)
    constants = checked.each("mean", mean), checked.each("variance", variance), checked.optional("weight", weight)
    grad = checked.grad(grad)
    return Case(
        arguments=(checked.x, *constants, grad),
        outputs=(checked.like(grad), checked.channel, checked.channel),
        parameters=checked.parameters(eps, positive=True),
        maps=(0, 4),
        flops=10 * grad.size,
        algorithm=algorithm,
    )


@operator(
    reference=reference.batch_norm_training,
    variants=[Variant("direct", cpu.batch_norm_training), Variant("cuda", cuda.batch_norm_training, device="cuda")],
    gradients={("x", "weight", "bias"): batch_norm_training_input},
)
def batch_norm_training(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    algorithm: str = "auto",
    out: Array | None = None,
) -> Case:
    """y[n,c,i,j] = f((x[n,c,i,j] - mean[c]) / sqrt(variance[c] + eps) weight[c] + bias[c]), with the batch's own.

    Batch normalisation as `torch.nn.functional.batch_norm` with training=True: mean[c] = sum over n,i,j of x[n,c,i,j]
    / M and variance[c] = sum of (x[n,c,i,j] - mean[c])^2 / M, M = N H W. The sums are float64, of distances from one of
    the numbers, so that a mean much larger than the deviation costs no accuracy; their order depends on shape and
    format alone.

    x: (N, C, H, W), (N, C) or (N, C, ...), float32 or float64, any strides; more than one number for each channel.
    weight, bias: (C,), or None for 1 and 0.
    eps: greater than 0.
    activation: None, or "relu" for f(a) = max(a, 0), NaN staying NaN.
    out: an array of the shape and dtype of y to write it into; it may be x itself.

    Returns (y, mean, variance): the shape and the format of x, and (C,) twice. The running variance of PyTorch's
    layers takes M / (M - 1) of it. Where there are no pixels at all, mean and variance are NaN.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Ioffe & Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
    shift" (2015), algorithm 1.

    >>> import numpy as np
    >>> from upconv.kernels import batch_norm_training
    >>> y, mean, variance = batch_norm_training(np.array([[1.0], [3.0]]), eps=1e-12)
    >>> y.ravel().round(6), mean, variance
    (array([-1.,  1.]), array([2.]), array([1.]))
    """
    checked = _Checked("batch_norm_training", x)
    shape = checked.shape
    if prod((shape[0], *shape[2:])) == 1:
        checked.check.fail(f"x must have more than one number for each channel, got shape {shape}")
    affine = checked.optional("weight", weight), checked.optional("bias", bias)
    activation = checked.check.choice("activation", activation, ACTIVATIONS)
    return Case(
        arguments=(checked.x, *affine),
        outputs=(checked.like(checked.x), checked.channel, checked.channel),
        parameters=checked.parameters(eps, positive=True) | {"activation": activation},
        maps=(0,),
        flops=7 * checked.x.size,
        algorithm=algorithm,
        out=out,
        elementwise=True,
    )
