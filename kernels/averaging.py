"""Average pooling: rules and docstrings."""

from typing import Any

from . import reference
from .case import Case
from .cpu import averaging as cpu
from .cuda import averaging as cuda
from .cuda.pooling import too_far
from .layout import Array, Shape, format_of
from .op import Variant, operator
from .pooling import pooled, pooled_shape, pooling_window
from .window import Window
from .window_arguments import WindowArguments


def _parameters(
    check: WindowArguments, window: Window, count_include_pad: Any, divisor_override: Any
) -> dict[str, Any]:
    divisor = divisor_override
    if divisor is not None:
        divisor = check.integer("divisor_override", divisor, 1 - 2**63, 2**63 - 1)
        if not divisor:
            check.fail("divisor_override must be None or an integer other than 0, got 0")
    return {
        "kernel_size": window.kernel,
        "stride": window.stride,
        "padding": window.padding,
        "count_include_pad": check.flag("count_include_pad", count_include_pad),
        "divisor_override": divisor,
    }


@operator(
    reference=reference.avg_pool2d_input,
    by_shape=True,
    variants=[
        Variant("direct", cpu.avg_pool_input),
        Variant("cuda", cuda.avg_pool_input, refuses=too_far, device="cuda"),
    ],
)
def avg_pool2d_input(
    input_shape: Shape,
    grad: Array,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
    algorithm: str = "auto",
) -> Case:
    """dx[n,c,p,q] = sum of grad[n,c,i,j] / divisor[i,j] over the windows (i,j) that the pixel (p,q) is in.

    The gradient of `avg_pool2d`. The quotients and their sum are float64.

    input_shape: (N, C, H, W) of what was pooled, or without N. grad: (N, C, Ho, Wo). The rest as given to
    `avg_pool2d`. Returns (N, C, H, W) in the format of `grad`.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    check = WindowArguments("avg_pool2d_input")
    window = pooling_window(check, kernel_size, stride, padding, 1)
    shape = check.map_shape("input_shape", input_shape, "NCHW")
    grad = check.map("grad", grad, "NCHW")
    check.map_fits("grad", grad, pooled_shape(check, shape, window, ceil_mode))
    outputs = (check.output(shape, grad.dtype, format_of(grad)),)
    parameters = _parameters(check, window, count_include_pad, divisor_override)
    return Case((shape, grad), outputs, parameters, maps=(1,), flops=grad.size * window.taps, algorithm=algorithm)


@operator(
    reference=reference.avg_pool2d,
    by_shape=True,
    variants=[Variant("direct", cpu.avg_pool), Variant("cuda", cuda.avg_pool, refuses=too_far, device="cuda")],
    gradients={"x": avg_pool2d_input},
)
def avg_pool2d(
    x: Array,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
    algorithm: str = "auto",
) -> Case:
    """y[n,c,i,j] = (sum over u,v of x[n, c, i s - pad + u, j s - pad + v]) / divisor[i,j], pixels outside x being 0.

    Average pooling as `torch.nn.functional.avg_pool2d`; the sum, tap after tap, and the quotient are float64.

    x: (N, C, H, W) or (C, H, W), float32 or float64, any strides.
    kernel_size, stride: int or (rows, columns), in pixels; stride None means kernel_size.
    padding: int, pair or ((top, bottom), (left, right)), at most half of the kernel.
    ceil_mode: a last, partly filled window counts too.
    count_include_pad: the divisor is how many pixels of the padded map the window covers, else how many of x.
    divisor_override: an integer other than 0, the divisor of every window instead.

    Returns y, (N, C, Ho, Wo) in the format of x, with Ho as for `conv2d`.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition" (1998), section
    II.A (sub-sampling).

    >>> import numpy as np
    >>> from upconv.kernels import avg_pool2d
    >>> avg_pool2d(np.array([[[[1.0, 2.0, 6.0, 3.0], [3.0, 6.0, 2.0, 1.0]]]]), 2)
    array([[[[3., 3.]]]])
    """
    check = WindowArguments("avg_pool2d")
    window = pooling_window(check, kernel_size, stride, padding, 1)
    x, shape = pooled(check, x, window, ceil_mode)
    outputs = (check.output(shape, x.dtype, format_of(x)),)
    parameters = _parameters(check, window, count_include_pad, divisor_override) | {"output_size": shape[2:]}
    flops = shape[0] * shape[1] * shape[2] * shape[3] * window.taps
    return Case((x,), outputs, parameters, maps=(0,), flops=flops, algorithm=algorithm)
