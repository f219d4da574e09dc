"""The layers: modules that hold a kernel's weights and arguments."""

from .activations import LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from .arguments import positive
from .convolution import Conv2d, ConvTranspose2d
from .linear import Flatten, Linear, convolutionalize
from .normalization import BatchNorm2d, Dropout
from .pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from .sequential import Sequential
from .upsampling import MaxUnpool2d, Unpool2d, Upsample

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "MaxUnpool2d",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Unpool2d",
    "Upsample",
    "convolutionalize",
    "positive",
]
