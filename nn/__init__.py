"""Networks that train, in PyTorch's idioms, on the kernels of `upconv.kernels`.

>>> import numpy as np
>>> from upconv import nn
>>> model = nn.UNet(in_channels=1, classes=2, width=2, depth=1, rng=0)
>>> optimizer = nn.SGD(model.parameters(), lr=1e-2, momentum=0.9)
>>> images, labels = np.zeros((1, 1, 8, 8), np.float32), np.ones((1, 8, 8), np.uint8)
>>> loss = nn.cross_entropy(model(images), labels, ignore_index=255)
>>> optimizer.zero_grad()
>>> loss.backward()
>>> optimizer.step()
>>> round(nn.cross_entropy(model(images), labels).item(), 3) < round(loss.item(), 3)
True
"""

from . import functional, init
from .functional import (
    concatenate,
    conv2d,
    conv_transpose2d,
    crop,
    cross_entropy,
    max_pool2d,
    max_unpool2d,
    relu,
    softmax,
)
from .init import manual_seed
from .io import load, register_model, save
from .layers import Conv2d, ConvTranspose2d, MaxPool2d, MaxUnpool2d, ReLU, Sequential
from .models import UNet
from .module import Module, ModuleList
from .optim import SGD, Adam, Optimizer
from .tensor import Parameter, Tensor, is_grad_enabled, no_grad

__all__ = [
    "SGD",
    "Adam",
    "Conv2d",
    "ConvTranspose2d",
    "MaxPool2d",
    "MaxUnpool2d",
    "Module",
    "ModuleList",
    "Optimizer",
    "Parameter",
    "ReLU",
    "Sequential",
    "Tensor",
    "UNet",
    "concatenate",
    "conv2d",
    "conv_transpose2d",
    "crop",
    "cross_entropy",
    "functional",
    "init",
    "is_grad_enabled",
    "load",
    "manual_seed",
    "max_pool2d",
    "max_unpool2d",
    "no_grad",
    "register_model",
    "relu",
    "save",
    "softmax",
]
