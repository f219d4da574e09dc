"""Convolution and transposed convolution, with their gradients: rules and docstrings.

All six are one linear map seen from its three sides. With A(w) the matrix of the convolution with weight w,
`conv2d` is A x, `conv2d_input` is A' g and `conv2d_weight` the derivative of g'A(w)x with respect to w. A transposed
convolution is A' x, so its own gradients are A g and the same derivative with x and g exchanged.
"""

from typing import Any

from . import reference
from .arguments import Arguments
from .case import Case, Output
from .cpu import convolution as cpu
from .layout import Array, Shape, format_of, plane
from .op import Variant, operator
from .window import Window

ACTIVATIONS = (None, "relu")


def _parameters(window: Window, groups: int) -> dict[str, Any]:
    return {"stride": window.stride, "padding": window.padding, "dilation": window.dilation, "groups": groups}


def _filters(check: Arguments, weight: Array, groups: Any, channels: int, transposed: bool) -> int:
    """The number of groups, where it divides the channels and the weight has the channels that it leaves."""
    count = check.integer("groups", groups, 1)
    ours = 0 if transposed else 1  # the weight's axis that meets the channels of x
    kept = weight.shape[0]  # the filters, (O of OIHW); the input channels where transposed (I of IOHW)
    per_group = channels if transposed else channels // count
    if channels % count or kept % count or weight.shape[ours] != per_group:
        axes = "(in, out / groups, kh, kw)" if transposed else "(out, in / groups, kh, kw)"
        check.fail(
            f"weight must be {axes} for {channels} input channels in {count} groups, and groups must divide both"
            f" numbers of channels; got weight {weight.shape}"
        )
    return count


def _bias(check: Arguments, bias: Any, filters: int, x: Array) -> Array | None:
    if bias is None:
        return None
    bias = check.array("bias", bias, "C", x.dtype)
    check.shape("bias", bias, (filters,))
    return bias


def _flops(grad_shape: Shape, weight_shape: Shape) -> int:
    """Two operations for each tap of each window."""
    n, _, h, w = grad_shape
    k, c, kh, kw = weight_shape
    return 2 * n * h * w * k * c * kh * kw


@operator(
    reference=reference.conv2d_input, variants=[Variant("direct", cpu.direct_input, describe=cpu.describe_turned)]
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
    algorithm: str = "auto",
    out: Array | None = None,
) -> Case:
    """dx[n,c,p,q] = sum over k,u,v with p = i s - pad + u d, q = j s - pad + v d of w[k,c,u,v] grad[n,k,i,j].

    The gradient of `conv2d` with respect to its input, as `torch.nn.grad.conv2d_input`.

    input_shape: (N, C, H, W) of the convolution's input. weight: (K, C / groups, kh, kw). grad: (N, K, Ho, Wo), the
    gradient of the result. The rest as given to `conv2d`. Returns (N, C, H, W) in the format of `grad`.

    Raises ValueError or TypeError naming the argument where shapes or dtypes do not fit together.
    """
    check = Arguments("conv2d_input", kernel="weight.shape[2:]")
    shape = check.map_shape("input_shape", input_shape, "NCHW")
    grad = check.map("grad", grad, "NKHW")
    weight = check.array("weight", weight, "KCHW", grad.dtype)
    window = check.window(weight.shape[2:], stride, padding, dilation, plane(shape))
    groups = _filters(check, weight, groups, shape[1], transposed=False)
    check.map_fits("grad", grad, (shape[0], weight.shape[0], *check.windows_over(window, plane(shape))))
    return Case(
        arguments=(shape, weight, grad),
        outputs=(check.output(shape, grad.dtype, format_of(grad)),),
        parameters=_parameters(window, groups),
        maps=(2,),
        flops=_flops(grad.shape, weight.shape),
        algorithm=algorithm,
        out=out,
    )


@operator(
    reference=reference.conv2d_weight, variants=[Variant("direct", cpu.direct_weight, describe=cpu.describe_sums)]
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
    algorithm: str = "auto",
    out: Array | None = None,
) -> Case:
    """dw[k,c,u,v] = sum over n,i,j of grad[n,k,i,j] x[n, c, i s - pad + u d, j s - pad + v d].

    The gradient of `conv2d` with respect to its weight, as `torch.nn.grad.conv2d_weight`.

    x: (N, C, H, W). weight_shape: (K, C / groups, kh, kw). grad: (N, K, Ho, Wo), the gradient of the result. The rest
    as given to `conv2d`. Returns (K, C / groups, kh, kw), channels-last.

    Raises ValueError or TypeError naming the argument where shapes or dtypes do not fit together.
    """
    check = Arguments("conv2d_weight", kernel="weight_shape[2:]")
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
        parameters=_parameters(window, count),
        maps=(0, 2),
        flops=_flops(grad.shape, shape),
        algorithm=algorithm,
        out=out,
    )


@operator(
    reference=reference.conv2d,
    variants=[Variant("direct", cpu.direct, describe=cpu.describe)],
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
    algorithm: "auto", or the name of a variant that `explain` lists. out: where to write; it may be a view.

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
    check = Arguments("conv2d", kernel="weight.shape[2:]")
    x = check.map("x", x, "NCHW")
    weight = check.array("weight", weight, "KCHW", x.dtype)
    window = check.window(weight.shape[2:], stride, padding, dilation, x.shape[2:])
    groups = _filters(check, weight, groups, x.shape[1], transposed=False)
    shape = (x.shape[0], weight.shape[0], *check.windows_over(window, x.shape[2:]))
    return Case(
        arguments=(x, weight, _bias(check, bias, weight.shape[0], x)),
        outputs=(check.output(shape, x.dtype, format_of(x)),),
        parameters=_parameters(window, groups) | {"activation": check.choice("activation", activation, ACTIVATIONS)},
        maps=(0,),
        flops=_flops(shape, weight.shape),
        algorithm=algorithm,
        out=out,
    )


@operator(
    reference=reference.conv_transpose2d_input,
    variants=[Variant("direct", cpu.transpose_input, describe=cpu.describe)],
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
    check = Arguments("conv_transpose2d_input", kernel="weight.shape[2:]")
    shape = check.map_shape("input_shape", input_shape, "NCHW")
    grad = check.map("grad", grad, "NKHW")
    weight = check.array("weight", weight, "CKHW", grad.dtype)
    window = check.window(weight.shape[2:], stride, padding, dilation)
    groups = _filters(check, weight, groups, shape[1], transposed=True)
    _transposed_grad(check, grad, window, (shape[0], weight.shape[1] * groups), shape[2:])
    return Case(
        arguments=(shape, weight, grad),
        outputs=(check.output(shape, grad.dtype, format_of(grad)),),
        parameters=_parameters(window, groups),
        maps=(2,),
        flops=_flops(shape, weight.shape),
        algorithm=algorithm,
        out=out,
    )


@operator(
    reference=reference.conv_transpose2d_weight,
    variants=[Variant("direct", cpu.transpose_weight, describe=cpu.describe_sums)],
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
    algorithm: str = "auto",
    out: Array | None = None,
) -> Case:
    """dw[c,k,u,v] = sum over n,i,j of x[n,c,i,j] grad[n, k, i s - pad + u d, j s - pad + v d].

    The gradient of `conv_transpose2d` with respect to its weight.

    x: (N, C, H, W). weight_shape: (C, K / groups, kh, kw). grad: (N, K, Ho, Wo), the gradient of the result. The rest
    as given to `conv_transpose2d`. Returns (C, K / groups, kh, kw), channels-last.

    Raises ValueError or TypeError naming the argument where shapes or dtypes do not fit together.
    """
    check = Arguments("conv_transpose2d_weight", kernel="weight_shape[2:]")
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
        parameters=_parameters(window, count),
        maps=(0, 2),
        flops=_flops(x.shape, shape),
        algorithm=algorithm,
        out=out,
    )


def _transposed_grad(check: Arguments, grad: Array, window: Window, leading: Shape, size: Shape) -> None:
    """`grad` must have a shape that a transposed convolution gives to a map of `size`."""
    rows, columns = window.transposed_size((size[0], size[1]))
    spare = [max(s, d) for s, d in zip(window.stride, window.dilation, strict=True)]
    extra = grad.shape[2] - rows, grad.shape[3] - columns
    if grad.shape[:2] != leading or not (0 <= extra[0] < spare[0] and 0 <= extra[1] < spare[1]):
        check.fail(
            f"grad must have shape {check.seen((*leading, rows, columns))}, its last axes larger by output_padding"
            f" below {spare}; got {check.seen(grad.shape)}"
        )


@operator(
    reference=reference.conv_transpose2d,
    variants=[Variant("direct", cpu.transpose, describe=cpu.describe_turned)],
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
    groups, activation, algorithm, out: as in `conv2d`.

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
    check = Arguments("conv_transpose2d", kernel="weight.shape[2:]")
    x = check.map("x", x, "NCHW")
    weight = check.array("weight", weight, "CKHW", x.dtype)
    window = check.window(weight.shape[2:], stride, padding, dilation)
    groups = _filters(check, weight, groups, x.shape[1], transposed=True)
    filters = weight.shape[1] * groups
    spare = [max(s, d) for s, d in zip(window.stride, window.dilation, strict=True)]
    smallest = window.transposed_size(x.shape[2:])
    if output_size is None:
        extra = check.pair("output_padding", output_padding, 0)
        if extra[0] >= spare[0] or extra[1] >= spare[1]:
            check.fail(f"output_padding must be below max(stride, dilation) = {tuple(spare)}, got {extra}")
    else:
        rows, columns = check.pair("output_size", output_size, 0)
        extra = rows - smallest[0], columns - smallest[1]
        if not (0 <= extra[0] < spare[0] and 0 <= extra[1] < spare[1]):
            largest = smallest[0] + spare[0] - 1, smallest[1] + spare[1] - 1
            check.fail(f"output_size must be between {smallest} and {largest}, got {(rows, columns)}")
    size = window.transposed_size(x.shape[2:], extra)
    if min(size) < 1:
        check.fail(f"padding {window.padding} crops all of the result: its size would be {size}")
    if max(size) >= 2**31:
        check.fail(f"the result must have fewer than 2**31 rows and columns, got {size}")
    return Case(
        arguments=(x, weight, _bias(check, bias, filters, x)),
        outputs=(check.output((x.shape[0], filters, *size), x.dtype, format_of(x)),),
        parameters=_parameters(window, groups)
        | {"output_padding": extra, "activation": check.choice("activation", activation, ACTIVATIONS)},
        maps=(0,),
        flops=_flops(x.shape, weight.shape),
        algorithm=algorithm,
        out=out,
    )
