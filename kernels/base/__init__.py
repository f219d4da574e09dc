"""Every operator once more, against the array namespace: NumPy and CuPy run the same lines.

A function takes what a variant takes, without the outputs, and returns an array, or a tuple of them, in the dtype of
the maps. On a GPU it is what runs where no CUDA kernel serves; nothing here copies from the device to the host.
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
from .channels import bias_relu_input, channel_sum, concatenate
from .convolution import (
    conv2d,
    conv2d_input,
    conv2d_weight,
    conv_transpose2d,
    conv_transpose2d_input,
    conv_transpose2d_weight,
)
from .elementwise_loss import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_input,
    l1_loss,
    l1_loss_input,
    mse_loss,
    mse_loss_input,
)
from .linear import linear, linear_bias, linear_input, linear_weight
from .loss import (
    cross_entropy,
    cross_entropy_input,
    dice_loss,
    dice_loss_input,
    nll_loss,
    nll_loss_input,
)
from .normalization import log_softmax, log_softmax_input, softmax, softmax_input
from .pointwise import (
    add,
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
from .pooling import max_pool2d, max_pool2d_indices, max_pool2d_input, max_pool2d_offsets
from .resampling import interpolate, interpolate_input
from .unpooling import max_unpool2d, max_unpool2d_input, unpool2d, unpool2d_input

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
    "max_pool2d_offsets",
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
