"""Pooling of whole planes: rules and docstrings."""

from . import reference
from .arguments import Arguments
from .case import Case
from .cpu import global_pooling as cpu
from .cuda import global_pooling as cuda
from .indices import INDEX, within
from .layout import Array, Shape, format_of
from .op import Variant, operator


def _has_pixels(check: Arguments, name: str, shape: Shape) -> Shape:
    """(N, C, 1, 1)."""
    if not shape[2] * shape[3]:
        check.fail(f"{name} must have at least one pixel, got shape {check.seen(shape)}")
    return (*shape[:2], 1, 1)


@operator(
    reference=reference.global_avg_pool2d_input,
    variants=[
        Variant("direct", cpu.global_avg_pool_input),
        Variant("cuda", cuda.global_avg_pool_input, device="cuda"),
    ],
)
def global_avg_pool2d_input(input_shape: Shape, grad: Array, *, algorithm: str = "auto") -> Case:
    """dx[n,c,p,q] = grad[n,c,0,0] / (H W).

    The gradient of `global_avg_pool2d`. input_shape: (N, C, H, W) of what was pooled, or without N. grad: (N, C, 1, 1).
    Returns (N, C, H, W) in channels-last memory.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    check = Arguments("global_avg_pool2d_input")
    shape = check.map_shape("input_shape", input_shape, "NCHW")
    grad = check.map("grad", grad, "NCHW")
    check.map_fits("grad", grad, _has_pixels(check, "input_shape", shape))
    outputs = (check.output(shape, grad.dtype),)
    return Case((shape, grad), outputs, maps=(1,), flops=grad.size, algorithm=algorithm)


@operator(
    reference=reference.global_avg_pool2d,
    variants=[
        Variant("direct", cpu.global_avg_pool),
        Variant("cuda", cuda.global_avg_pool, device="cuda"),
    ],
    gradients={"x": global_avg_pool2d_input},
)
def global_avg_pool2d(x: Array, *, algorithm: str = "auto") -> Case:
    """y[n,c,0,0] = (sum over i,j of x[n,c,i,j]) / (H W).

    The average of each plane, as `torch.nn.functional.adaptive_avg_pool2d(x, 1)`. The sums are float64, and their order
    depends on the shape alone.

    x: (N, C, H, W) or (C, H, W) of at least one pixel, float32 or float64, any strides. Returns (N, C, 1, 1).

    Raises ValueError or TypeError naming the argument where it does not fit.

    Source: Lin, Chen & Yan, "Network in network" (2014), section 3.2.

    >>> import numpy as np
    >>> from upconv.kernels import global_avg_pool2d
    >>> global_avg_pool2d(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]))
    array([[[[3.]]]])
    """
    check = Arguments("global_avg_pool2d")
    x = check.map("x", x, "NCHW")
    outputs = (check.output(_has_pixels(check, "x", x.shape), x.dtype, format_of(x)),)
    return Case((x,), outputs, maps=(0,), flops=x.size, algorithm=algorithm)


@operator(
    reference=reference.global_max_pool2d_input,
    variants=[
        Variant("direct", cpu.global_max_pool_input),
        Variant("cuda", cuda.global_max_pool_input, device="cuda"),
    ],
)
def global_max_pool2d_input(input_shape: Shape, indices: Array, grad: Array, *, algorithm: str = "auto") -> Case:
    """dx[n, c, indices[n,c,0,0]] = grad[n,c,0,0] with the plane of dx flat in row-major order, 0 elsewhere.

    The gradient of `global_max_pool2d`, from the indices that it gave.

    input_shape: (N, C, H, W) of what was pooled, or without N. indices: integers (N, C, 1, 1). grad: (N, C, 1, 1).
    Returns (N, C, H, W) in channels-last memory.

    Raises ValueError, TypeError, or IndexError for an index outside 0..H*W-1.
    """
    check = Arguments("global_max_pool2d_input")
    shape = check.map_shape("input_shape", input_shape, "NCHW")
    pooled = _has_pixels(check, "input_shape", shape)
    indices = check.integers("indices", indices, pooled)
    within(check, "indices", indices, shape[2] * shape[3])
    grad = check.map("grad", grad, "NCHW")
    check.map_fits("grad", grad, pooled)
    arguments = (shape, indices.astype(INDEX, copy=False), grad)
    return Case(arguments, (check.output(shape, grad.dtype),), maps=(1, 2), algorithm=algorithm)


def _reference_global_max(x: Array, *, return_indices: bool) -> tuple[Array, ...]:
    return reference.global_max_pool2d(x)[: 1 + return_indices]


@operator(
    reference=_reference_global_max,
    variants=[
        Variant("direct", cpu.global_max_pool),
        Variant("cuda", cuda.global_max_pool, device="cuda"),
    ],
    gradients={"x": global_max_pool2d_input},
)
def global_max_pool2d(x: Array, *, return_indices: bool = False, algorithm: str = "auto") -> Case:
    """y[n,c,0,0] = max over i,j of x[n,c,i,j].

    The largest pixel of each plane, as `torch.nn.functional.adaptive_max_pool2d(x, 1)`: NaN always wins, and of equal
    pixels the first, row by row; also of several NaN, where PyTorch's index names the last.

    x: (N, C, H, W) or (C, H, W) of at least one pixel, float32 or float64, any strides. return_indices: also give the
    position of each winner in its plane, row * W + column, as int64.

    Returns y, or (y, indices), (N, C, 1, 1).

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Oquab, Bottou, Laptev & Sivic, "Is object localization for free?" (2015), section 3.2.

    >>> import numpy as np
    >>> from upconv.kernels import global_max_pool2d
    >>> global_max_pool2d(np.array([[[[1.0, 2.0], [6.0, 3.0]]]]), return_indices=True)
    (array([[[[6.]]]]), array([[[[2]]]]))
    """
    check = Arguments("global_max_pool2d")
    x = check.map("x", x, "NCHW")
    shape = _has_pixels(check, "x", x.shape)
    outputs = [check.output(shape, x.dtype, format_of(x))]
    if check.flag("return_indices", return_indices):
        outputs.append(check.output(shape, INDEX, format_of(x)))
    parameters = {"return_indices": bool(return_indices)}
    return Case((x,), tuple(outputs), parameters, maps=(0,), flops=x.size, algorithm=algorithm)
