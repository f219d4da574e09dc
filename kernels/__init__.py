"""The operators of dense prediction on NumPy and CuPy arrays: see each function's docstring.

Logical shapes are NCHW (weights OIHW, of transposed convolutions IOHW); the memory format is a matter of strides, and
channels-last is the fast one. `algorithm="reference"` computes any operator on NumPy arrays from its definition,
`algorithm="base"` any operator by the functions that NumPy and CuPy share.
"""

from .averaging import avg_pool2d, avg_pool2d_input
from .batchnorm import batch_norm, batch_norm_input, batch_norm_training, batch_norm_training_input
from .channels import bias_relu_input, channel_slots, channel_sum, concatenate
from .convolution import conv2d, conv2d_input, conv2d_weight
from .cpu.parallel import get_num_threads, num_threads, set_num_threads
from .dice import dice_loss, dice_loss_input
from .elementwise_loss import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_input,
    l1_loss,
    l1_loss_input,
    l1_loss_target,
    mse_loss,
    mse_loss_input,
    mse_loss_target,
)
from .explanation import explain
from .global_pooling import (
    global_avg_pool2d,
    global_avg_pool2d_input,
    global_max_pool2d,
    global_max_pool2d_input,
)
from .indices import indices_from_onnx, indices_to_onnx
from .layout import channels_last
from .linear import linear, linear_bias, linear_input, linear_weight
from .loss import cross_entropy, cross_entropy_input, nll_loss, nll_loss_input
from .normalization import log_softmax, log_softmax_input, softmax, softmax_input
from .packed import pack
from .pointwise import (
    add,
    dropout,
    dropout_input,
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
from .precision import get_precision, precision, set_precision
from .resampling import interpolate, interpolate_input
from .transposed import conv_transpose2d, conv_transpose2d_input, conv_transpose2d_weight
from .unpooling import max_unpool2d, max_unpool2d_input, unpool2d, unpool2d_input
from .upsampling import bilinear_kernel, convolution_matrix, overlap_counts, zero_insert2d

__all__ = [
    "add",
    "avg_pool2d",
    "avg_pool2d_input",
    "batch_norm",
    "batch_norm_input",
    "batch_norm_training",
    "batch_norm_training_input",
    "bias_relu_input",
    "bilinear_kernel",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_input",
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
    "convolution_matrix",
    "cross_entropy",
    "cross_entropy_input",
    "dice_loss",
    "dice_loss_input",
    "dropout",
    "dropout_input",
    "explain",
    "get_num_threads",
    "get_precision",
    "global_avg_pool2d",
    "global_avg_pool2d_input",
    "global_max_pool2d",
    "global_max_pool2d_input",
    "indices_from_onnx",
    "indices_to_onnx",
    "interpolate",
    "interpolate_input",
    "l1_loss",
    "l1_loss_input",
    "l1_loss_target",
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
    "mse_loss_target",
    "nll_loss",
    "nll_loss_input",
    "num_threads",
    "overlap_counts",
    "pack",
    "precision",
    "relu",
    "relu_input",
    "set_num_threads",
    "set_precision",
    "sigmoid",
    "sigmoid_input",
    "softmax",
    "softmax_input",
    "tanh",
    "tanh_input",
    "unpool2d",
    "unpool2d_input",
    "zero_insert2d",
]
