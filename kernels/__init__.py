"""The operators of dense prediction on NumPy arrays: see each function's docstring.

Logical shapes are NCHW (weights OIHW, of transposed convolutions IOHW); the memory format is a matter of strides, and
channels-last is the fast one. `algorithm="reference"` computes any operator from its definition instead.
"""

from .convolution import (
    conv2d,
    conv2d_input,
    conv2d_weight,
    conv_transpose2d,
    conv_transpose2d_input,
    conv_transpose2d_weight,
)
from .cpu.parallel import get_num_threads, num_threads, set_num_threads
from .layout import channels_last
from .loss import cross_entropy, cross_entropy_input
from .op import explain
from .pointwise import (
    add,
    bias_relu_input,
    channel_slots,
    channel_sum,
    concatenate,
    relu,
    relu_input,
    softmax,
    softmax_input,
)
from .pooling import (
    max_pool2d,
    max_pool2d_indices,
    max_pool2d_input,
    max_pool2d_offsets,
    max_unpool2d,
    max_unpool2d_input,
)

__all__ = [
    "add",
    "bias_relu_input",
    "channel_slots",
    "channel_sum",
    "channels_last",
    "concatenate",
    "conv2d",
    "conv2d_input",
    "conv2d_weight",
    "conv_transpose2d",
    "conv_transpose2d_input",
    "conv_transpose2d_weight",
    "cross_entropy",
    "cross_entropy_input",
    "explain",
    "get_num_threads",
    "max_pool2d",
    "max_pool2d_indices",
    "max_pool2d_input",
    "max_pool2d_offsets",
    "max_unpool2d",
    "max_unpool2d_input",
    "num_threads",
    "relu",
    "relu_input",
    "set_num_threads",
    "softmax",
    "softmax_input",
]
