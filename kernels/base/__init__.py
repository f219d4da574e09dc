"""Every operator once more, against the array namespace: NumPy and CuPy run the same lines.

A function takes what a variant takes, without the outputs, and returns an array, or a tuple of them, in the dtype of
the maps. On a GPU it is what runs where no CUDA kernel serves; nothing here copies from the device to the host.
"""

from .batchnorm import batch_norm, batch_norm_input, batch_norm_training, batch_norm_training_input
from .channels import bias_relu_input, channel_sum, concatenate
from .elementwise_loss import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_input,
    l1_loss,
    l1_loss_input,
    mse_loss,
    mse_loss_input,
)
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

__all__ = [
    "add",
    "batch_norm",
    "batch_norm_input",
    "batch_norm_training",
    "batch_norm_training_input",
    "bias_relu_input",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_input",
    "channel_sum",
    "concatenate",
    "cross_entropy",
    "cross_entropy_input",
    "dice_loss",
    "dice_loss_input",
    "dropout",
    "l1_loss",
    "l1_loss_input",
    "leaky_relu",
    "leaky_relu_input",
    "log_softmax",
    "log_softmax_input",
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
]
