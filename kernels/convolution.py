"""Convolution with its gradients: rules and docstrings.

The three, and those of `transposed`, are one linear map seen from its three sides. With A(w) the matrix of the
convolution with weight w, `conv2d` is A x, `conv2d_input` is A' g and `conv2d_weight` the derivative of g'A(w)x with
respect to w.
"""

from typing import Any

from . import reference
from .case import Case, Output
from .cpu import convolution as cpu
from .cpu import dots, grouped, single, winograd, winograd_weight
from .cuda import convolution as tensor_cores
from .cuda import depthwise, simt
from .cuda.sides import declines_pointwise
from .layout import Array, Shape, format_of, plane
from .op import Variant, never, operator
from .precision import checked as checked_precision
from .window import Window
from .window_arguments import WindowArguments

ACTIVATIONS = (None, "relu")


def parameters_of(window: Window, groups: int) -> dict[str, Any]:
    """What a kernel is told of the window."""
    return {"stride": window.stride, "padding": window.padding, "dilation": window.dilation, "groups": groups}


def flops_of(grad_shape: Shape, weight_shape: Shape) -> int:
    """Two operations for each tap of each window."""
    n, _, h, w = grad_shape
    k, c, kh, kw = weight_shape
    return 2 * n * h * w * k * c * kh * kw


def on_gpu(side: str, *, turned: bool = False, sums: bool = False) -> list[Variant]:
    """The kernels of one of the six operators for CuPy arrays.

    side: its name in `cuda.sides.Sides`. turned: it writes the transposed map; sums: a weight's gradient.
    """
    if sums:
        refuses, declines = depthwise.refuses_weight, never
    elif turned:
        refuses, declines = depthwise.refuses_turned, depthwise.declines_turned
    else:
        refuses, declines = depthwise.refuses, depthwise.declines
    variants = []
    for name, sides, refusal, preference, precision in (
        ("depthwise", depthwise.sides, refuses, declines, "fp32"),
        ("tf32", tensor_cores.tf32, tensor_cores.refuses, never, "tf32"),
        ("fp32x3", tensor_cores.fp32x3, tensor_cores.refuses, declines_pointwise, "fp32"),
        ("direct", simt.sides, simt.refuses, declines_pointwise, "fp32"),
    ):
        run, describe = getattr(sides, side), getattr(sides, f"describe_{side}")
        variants.append(Variant(name, run, refusal, describe, preference, "cuda", precision))
    return variants


@operator(
    reference=reference.conv2d_input,
    by_shape=True,
    variants=[
        Variant("grouped", grouped.convolve_input, grouped.refuses_turned, grouped.describe),
        Variant("single", single.convolve_input, single.refuses_turned, single.describe),
        Variant(
            "winograd", winograd.convolve_input, winograd.refuses, winograd.describe_turned, winograd.declines_turned
        ),
        Variant("direct", cpu.direct_input, describe=cpu.describe_turned),
        *on_gpu("direct_input", turned=True),
    ],
)
def conv2d_input(
    input_shape: Shape,
    weight: Array,
    grad: Array,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    precision: str | None = None,
    algorithm: str = "auto",
    out: Array | None = None,
) -> Case:
    """dx[n,c,p,q] = sum over k,u,v with p = i s - pad + u d, q = j s - pad + v d of w[k,c,u,v] grad[n,k,i,j].

    The gradient of `conv2d` with respect to its input, as `torch.nn.grad.conv2d_input`.

    input_shape: (N, C, H, W) of the convolution's input. weight: (K, C / groups, kh, kw). grad: (N, K, Ho, Wo), the
    gradient of the result. The rest as given to `conv2d`. Returns (N, C, H, W) in the format of `grad`.

    Raises ValueError or TypeError naming the argument where shapes or dtypes do not fit together.
    """
    check = WindowArguments("conv2d_input", kernel="weight.shape[2:]")
    shape = check.map_shape("input_shape", input_shape, "NCHW")
    grad = check.map("grad", grad, "NKHW")
    weight = check.array("weight", weight, "KCHW", grad.dtype)
    window = check.window(weight.shape[2:], stride, padding, dilation, plane(shape))
    groups = check.filters(weight, groups, shape[1], transposed=False)
    check.map_fits("grad", grad, (shape[0], weight.shape[0], *check.windows_over(window, plane(shape))))
    return Case(
        arguments=(shape, weight, grad),
        outputs=(check.output(shape, grad.dtype, format_of(grad)),),
        parameters=parameters_of(window, groups),
        maps=(2,),
        flops=flops_of(grad.shape, weight.shape),
        algorithm=algorithm,
        out=out,
        precision=checked_precision(check, precision),
    )


@operator(
    reference=reference.conv2d_weight,
    by_shape=True,
    variants=[
        Variant("grouped", grouped.convolve_weight, grouped.refuses_sums, grouped.describe),
        Variant(
            "winograd",
            winograd_weight.convolve_weight,
            winograd_weight.refuses,
            winograd_weight.describe,
            winograd_weight.declines,
        ),
        Variant("direct", cpu.direct_weight, describe=cpu.describe_sums),
        *on_gpu("direct_weight", sums=True),
    ],
)
def conv2d_weight(
    x: Array,
    weight_shape: Shape,
    grad: Array,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    precision: str | None = None,
    algorithm: str = "auto",
    out: Array | None = None,
) -> Case:
    """dw[k,c,u,v] = sum over n,i,j of grad[n,k,i,j] x[n, c, i s - pad + u d, j s - pad + v d].

    The gradient of `conv2d` with respect to its weight, as `torch.nn.grad.conv2d_weight`.

    x: (N, C, H, W). weight_shape: (K, C / groups, kh, kw). grad: (N, K, Ho, Wo), the gradient of the result. The rest
    as given to `conv2d`. Returns (K, C / groups, kh, kw), channels-last.

    Raises ValueError or TypeError naming the argument where shapes or dtypes do not fit together.
    """
    check = WindowArguments("conv2d_weight", kernel="weight_shape[2:]")
    x = check.map("x", x, "NCHW")
    shape = check.shape_of("weight_shape", weight_shape, "KCHW")
    grad = check.map("grad", grad, "NKHW", x.dtype)
    window = check.window(shape[2:], stride, padding, dilation, x.shape[2:])
    count = check.integer("groups", groups, 1)
    if x.shape[1] % count or shape[0] % count or shape[1] != x.shape[1] // count:
        check.fail(
            f"weight_shape must be (out, in / groups, kh, kw) for {x.shape[1]} input channels in {count} groups, and"
            f" groups must divide both numbers of channels; got {shape}"
        )
    check.map_fits("grad", grad, (x.shape[0], shape[0], *check.windows_over(window, x.shape[2:])))
    return Case(
        arguments=(x, shape, grad),
        outputs=(Output(shape, x.dtype),),
        parameters=parameters_of(window, count),
        maps=(0, 2),
        flops=flops_of(grad.shape, shape),
        algorithm=algorithm,
        out=out,
        precision=checked_precision(check, precision),
    )


@operator(
    reference=reference.conv2d,
    by_shape=True,
    variants=[
        Variant("grouped", grouped.convolve, grouped.refuses, grouped.describe),
        Variant("single", single.convolve, single.refuses, single.describe),
        Variant("dots", dots.convolve, dots.refuses, dots.describe),
        Variant("winograd", winograd.convolve, winograd.refuses, winograd.describe, winograd.declines),
        Variant("direct", cpu.direct, describe=cpu.describe),
        *on_gpu("direct"),
    ],
    gradients={"x": conv2d_input, "weight": conv2d_weight},
)
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    out: Array | None = None,
) -> Case:
    """y[n,k,i,j] = f(b[k] + sum over c,u,v of w[k,c,u,v] x[n, c, i s - pad + u d, j s - pad + v d]).

    Convolution as neural networks mean it (a correlation: the kernel is not flipped), as
    `torch.nn.functional.conv2d`. Pixels in the padding are 0.

    x: (N, C, H, W). weight: (K, C / groups, kh, kw). bias: (K,) or None. All float32 or all float64; any strides,
    channels-last is fastest, read-only is fine.
    stride, dilation: int or (rows, columns), in pixels. dilation is the distance between taps (à trous).
    padding: int, (rows, columns), ((top, bottom), (left, right)), "valid" (none) or "same": ceil(size / stride)
    outputs, an odd pixel of padding at the bottom and right (ONNX SAME_UPPER).
    groups: filters k of group g see the C / groups channels of group g only.
    activation: None, or "relu" for f(a) = max(a, 0), NaN staying NaN.
    precision: "fp32", "tf32", or None for that of `precision`: see `set_precision`.
    algorithm: "auto", or the name of a variant that `explain` lists. "direct" sums the products as they stand; "auto"
    may take "winograd" in float32, whose errors are larger (`explain` gives the bound). out: where to write; it may be
    a view.

    Returns (N, K, Ho, Wo) in the format of x, with Ho = floor((H + top + bottom - d (kh - 1) - 1) / s) + 1.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016), relationship 6 (size) and
    section 5.1 (dilation).

    >>> import numpy as np
    >>> from upconv.kernels import conv2d
    >>> image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> mean = np.full((1, 1, 3, 3), 1 / 9, dtype=np.float32)
    >>> conv2d(image, mean).round(3)
    array([[[[ 5.,  6.],
             [ 9., 10.]]]], dtype=float32)
    """
    check = WindowArguments("conv2d", kernel="weight.shape[2:]")
    x = check.map("x", x, "NCHW")
    weight = check.array("weight", weight, "KCHW", x.dtype)
    window = check.window(weight.shape[2:], stride, padding, dilation, x.shape[2:])
    groups = check.filters(weight, groups, x.shape[1], transposed=False)
    shape = (x.shape[0], weight.shape[0], *check.windows_over(window, x.shape[2:]))
    return Case(
        arguments=(x, weight, check.bias(bias, weight.shape[0], x)),
        outputs=(check.output(shape, x.dtype, format_of(x)),),
        parameters=parameters_of(window, groups) | {"activation": check.choice("activation", activation, ACTIVATIONS)},
        maps=(0,),
        flops=flops_of(shape, weight.shape),
        algorithm=algorithm,
        out=out,
        precision=checked_precision(check, precision),
    )
