"""Every operator from its definition, in float64: slow, plain, and what the fast kernels are tested against.

It shares no code with them and imports NumPy only. Arguments come normalised and checked by `upconv.kernels`:

    stride, dilation, kernel_size, output_padding, output_size: (rows, columns)
    padding: ((top, bottom), (left, right))

Images are (N, C, H, W), weights (O, C/groups, kh, kw), and (C, O/groups, kh, kw) in transposed convolution. Results are
new C-contiguous arrays of float64, indices and offsets of int64. With integers so small that no sum passes 2**53,
convolutions, their gradients, pooling and unpooling are exact.
"""

from .convolution import (
    conv2d,
    conv2d_input,
    conv2d_weight,
    conv_transpose2d,
    conv_transpose2d_input,
    conv_transpose2d_weight,
)
from .loss import cross_entropy, cross_entropy_input
from .normalization import softmax, softmax_input
from .pointwise import add, bias_relu_input, channel_sum, concatenate, relu, relu_input
from .pooling import max_pool2d, max_pool2d_indices, max_pool2d_input, max_unpool2d, max_unpool2d_input

__all__ = [
    "add",
    "bias_relu_input",
    "channel_sum",
    "concatenate",
    "conv2d",
    "conv2d_input",
    "conv2d_weight",
    "conv_transpose2d",
    "conv_transpose2d_input",
    "conv_transpose2d_weight",
    "cross_entropy",
    "cross_entropy_input",
    "max_pool2d",
    "max_pool2d_indices",
    "max_pool2d_input",
    "max_unpool2d",
    "max_unpool2d_input",
    "relu",
    "relu_input",
    "softmax",
    "softmax_input",
]
