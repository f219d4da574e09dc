"""Transposed convolution with its gradients: rules and docstrings.

With A(w) the matrix of `conv2d`, `conv_transpose2d` is A' x. So its gradient with respect to x is A g, and that with
respect to w is that of `conv2d` with x and g exchanged.
"""

from typing import Any

from . import reference
from .case import Case, Output
from .convolution import ACTIVATIONS, flops_of, on_gpu, parameters_of
from .cpu import convolution as cpu
from .cpu import grouped
from .layout import Array, Shape, format_of
from .op import Variant, operator
from .precision import checked as checked_precision
from .window import Window
from .window_arguments import WindowArguments


@operator(
    reference=reference.conv_transpose2d_input,
    by_shape=True,
    variants=[
        Variant("grouped", grouped.transpose_input, grouped.refuses, grouped.describe),
        Variant("direct", cpu.transpose_input, describe=cpu.describe),
        *on_gpu("transpose_input"),
    ],
)
def conv_transpose2d_input(
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
    """dx[n,c,i,j] = sum over k,u,v of w[c,k,u,v] grad[n, k, i s - pad + u d, j s - pad + v d].

    The gradient of `conv_transpose2d` with respect to its input: an ordinary convolution of `grad`.

    input_shape: (N, C, H, W) of the transposed convolution's input. weight: (C, K / groups, kh, kw). grad: (N, K, Ho,
    Wo), the gradient of the result. The rest as given to `conv_transpose2d`. Returns (N, C, H, W) in the format of
    `grad`.

    Raises ValueError or TypeError naming the argument where shapes or dtypes do not fit together.
    """
    check = WindowArguments("conv_transpose2d_input", kernel="weight.shape[2:]")
    shape = check.map_shape("input_shape", input_shape, "NCHW")
    grad = check.map("grad", grad, "NKHW")
    weight = check.array("weight", weight, "CKHW", grad.dtype)
    window = check.window(weight.shape[2:], stride, padding, dilation)
    groups = check.filters(weight, groups, shape[1], transposed=True)
    _transposed_grad(check, grad, window, (shape[0], weight.shape[1] * groups), shape[2:])
    return Case(
        arguments=(shape, weight, grad),
        outputs=(check.output(shape, grad.dtype, format_of(grad)),),
        parameters=parameters_of(window, groups),
        maps=(2,),
        flops=flops_of(shape, weight.shape),
        algorithm=algorithm,
        out=out,
        precision=checked_precision(check, precision),
    )


@operator(
    reference=reference.conv_transpose2d_weight,
    by_shape=True,
    variants=[
        Variant("grouped", grouped.transpose_weight, grouped.refuses_sums, grouped.describe),
        Variant("direct", cpu.transpose_weight, describe=cpu.describe_sums),
        *on_gpu("transpose_weight", sums=True),
    ],
)
def conv_transpose2d_weight(
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
    """dw[c,k,u,v] = sum over n,i,j of x[n,c,i,j] grad[n, k, i s - pad + u d, j s - pad + v d].

    The gradient of `conv_transpose2d` with respect to its weight.

    x: (N, C, H, W). weight_shape: (C, K / groups, kh, kw). grad: (N, K, Ho, Wo), the gradient of the result. The rest
    as given to `conv_transpose2d`. Returns (C, K / groups, kh, kw), channels-last.

    Raises ValueError or TypeError naming the argument where shapes or dtypes do not fit together.
    """
    check = WindowArguments("conv_transpose2d_weight", kernel="weight_shape[2:]")
    x = check.map("x", x, "NCHW")
    shape = check.shape_of("weight_shape", weight_shape, "CKHW")
    grad = check.map("grad", grad, "NKHW", x.dtype)
    window = check.window(shape[2:], stride, padding, dilation)
    count = check.integer("groups", groups, 1)
    if shape[0] != x.shape[1] or shape[0] % count:
        check.fail(
            f"weight_shape must be (in, out / groups, kh, kw) for {x.shape[1]} input channels, which groups={count}"
            f" must divide; got {shape}"
        )
    _transposed_grad(check, grad, window, (x.shape[0], shape[1] * count), x.shape[2:])
    return Case(
        arguments=(x, shape, grad),
        outputs=(Output(shape, x.dtype),),
        parameters=parameters_of(window, count),
        maps=(0, 2),
        flops=flops_of(x.shape, shape),
        algorithm=algorithm,
        out=out,
        precision=checked_precision(check, precision),
    )


def _transposed_grad(check: WindowArguments, grad: Array, window: Window, leading: Shape, size: Shape) -> None:
    """`grad` must have a shape that a transposed convolution gives to a map of `size`."""
    rows, columns = window.transposed_size((size[0], size[1]))
    spare = list(window.spare)
    extra = grad.shape[2] - rows, grad.shape[3] - columns
    if grad.shape[:2] != leading or not (0 <= extra[0] < spare[0] and 0 <= extra[1] < spare[1]):
        check.fail(
            f"grad must have shape {check.seen((*leading, rows, columns))}, its last axes larger by output_padding"
            f" below {spare}; got {check.seen(grad.shape)}"
        )


@operator(
    reference=reference.conv_transpose2d,
    by_shape=True,
    variants=[
        Variant("grouped", grouped.transpose, grouped.refuses_turned, grouped.describe),
        Variant("direct", cpu.transpose, describe=cpu.describe_turned),
        *on_gpu("transpose", turned=True),
    ],
    gradients={"x": conv_transpose2d_input, "weight": conv_transpose2d_weight},
)
def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    output_size: Any = None,
    groups: int = 1,
    dilation: Any = 1,
    activation: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    out: Array | None = None,
) -> Case:
    """y[n,k,p,q] = f(b[k] + sum over c,u,v with p = i s - pad + u d, q = j s - pad + v d of w[c,k,u,v] x[n,c,i,j]).

    Transposed (fractionally strided) convolution, the learned upsampling of FCN and U-Net, as
    `torch.nn.functional.conv_transpose2d`: every input pixel adds its multiple of the kernel to the output, the kernels
    s pixels apart.

    x: (N, C, H, W). weight: (C, K / groups, kh, kw). bias: (K,) or None. All float32 or all float64; any strides,
    channels-last is fastest, read-only is fine.
    stride, dilation: int or (rows, columns), in pixels.
    padding: int, (rows, columns) or ((top, bottom), (left, right)): pixels cropped from the result's border.
    output_padding: int or pair, rows and columns appended at the bottom and right, below max(stride, dilation).
    output_size: (Ho, Wo) instead of output_padding.
    groups, activation, precision, algorithm, out: as in `conv2d`.

    Returns (N, K, Ho, Wo) in the format of x, with Ho = (H - 1) s - top - bottom + d (kh - 1) + 1 + output_padding.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016), chapter 4; Long, Shelhamer &
    Darrell, "Fully convolutional networks for semantic segmentation" (2015), section 3.3.

    >>> import numpy as np
    >>> from upconv.kernels import conv_transpose2d
    >>> x = np.array([[[[1.0, 2.0]]]])
    >>> conv_transpose2d(x, np.ones((1, 1, 1, 3)), stride=2)
    array([[[[1., 1., 3., 2., 2.]]]])
    """
    check = WindowArguments("conv_transpose2d", kernel="weight.shape[2:]")
    x = check.map("x", x, "NCHW")
    weight = check.array("weight", weight, "CKHW", x.dtype)
    window = check.window(weight.shape[2:], stride, padding, dilation)
    groups = check.filters(weight, groups, x.shape[1], transposed=True)
    filters = weight.shape[1] * groups
    if output_size is None:
        extra = check.output_padding(output_padding, window)
    else:
        smallest, spare = window.transposed_size(x.shape[2:]), window.spare
        rows, columns = check.pair("output_size", output_size, 0)
        extra = rows - smallest[0], columns - smallest[1]
        if not (0 <= extra[0] < spare[0] and 0 <= extra[1] < spare[1]):
            largest = smallest[0] + spare[0] - 1, smallest[1] + spare[1] - 1
            check.fail(f"output_size must be between {smallest} and {largest}, got {(rows, columns)}")
    size = check.transposed_size(window, x.shape[2:], extra)
    return Case(
        arguments=(x, weight, check.bias(bias, filters, x)),
        outputs=(check.output((x.shape[0], filters, *size), x.dtype, format_of(x)),),
        parameters=parameters_of(window, groups)
        | {"output_padding": extra, "activation": check.choice("activation", activation, ACTIVATIONS)},
        maps=(0,),
        flops=flops_of(x.shape, weight.shape),
        algorithm=algorithm,
        out=out,
        precision=checked_precision(check, precision),
    )
