"""Every operator from its definition, in float64: slow, plain, and what the fast kernels are tested against.

It shares no code with them and imports NumPy only. Arguments come normalised and checked by `upconv.kernels`:

    stride, dilation, kernel_size, output_padding, output_size: (rows, columns)
    padding: ((top, bottom), (left, right))

Images are (N, C, H, W), weights (O, C/groups, kh, kw), and (C, O/groups, kh, kw) in transposed convolution. Results are
new C-contiguous arrays of float64, indices and offsets of int64. With integers so small that no sum passes 2**53,
convolutions, their gradients, pooling and unpooling are exact.
"""

from .averaging import (
    avg_pool2d,
    avg_pool2d_input,
    global_avg_pool2d,
    global_avg_pool2d_input,
    global_max_pool2d,
    global_max_pool2d_input,
)
from .batchnorm import batch_norm, batch_norm_input, batch_norm_training, batch_norm_training_input
from .convolution import (
    conv2d,
    conv2d_input,
    conv2d_weight,
    conv_transpose2d,
    conv_transpose2d_input,
    conv_transpose2d_weight,
)
from .linear import linear, linear_bias, linear_input, linear_weight
from .loss import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_input,
    cross_entropy,
    cross_entropy_input,
    dice_loss,
    dice_loss_input,
    l1_loss,
    l1_loss_input,
    mse_loss,
    mse_loss_input,
    nll_loss,
    nll_loss_input,
)
from .normalization import log_softmax, log_softmax_input, softmax, softmax_input
from .pointwise import (
    add,
    bias_relu_input,
    channel_sum,
    concatenate,
    dropout,
    leaky_relu,
    leaky_relu_input,
    relu,
    relu_input,
    sigmoid,
    sigmoid_input,
    tanh,
    tanh_input,
)
from .pooling import (
    max_pool2d,
    max_pool2d_indices,
    max_pool2d_input,
    max_unpool2d,
    max_unpool2d_input,
    unpool2d,
    unpool2d_input,
)
from .resampling import interpolate, interpolate_input

__all__ = [
    "add",
    "avg_pool2d",
    "avg_pool2d_input",
    "batch_norm",
    "batch_norm_input",
    "batch_norm_training",
    "batch_norm_training_input",
    "bias_relu_input",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_input",
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
    "dice_loss",
    "dice_loss_input",
    "dropout",
    "global_avg_pool2d",
    "global_avg_pool2d_input",
    "global_max_pool2d",
    "global_max_pool2d_input",
    "interpolate",
    "interpolate_input",
    "l1_loss",
    "l1_loss_input",
    "leaky_relu",
    "leaky_relu_input",
    "linear",
    "linear_bias",
    "linear_input",
    "linear_weight",
    "log_softmax",
    "log_softmax_input",
    "max_pool2d",
    "max_pool2d_indices",
    "max_pool2d_input",
    "max_unpool2d",
    "max_unpool2d_input",
    "mse_loss",
    "mse_loss_input",
    "nll_loss",
    "nll_loss_input",
    "relu",
    "relu_input",
    "sigmoid",
    "sigmoid_input",
    "softmax",
    "softmax_input",
    "tanh",
    "tanh_input",
    "unpool2d",
    "unpool2d_input",
]
