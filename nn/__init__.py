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

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import functional, init, metrics, schedules
from .arrays import from_arrays
from .data import Data, Sample, nuclei
from .datasets import Classified, digits, fashion_mnist
from .exchange import export_onnx, from_pytorch, to_pytorch
from .folder import read_folder
from .functional import batch_norm, concatenate, crop, dropout, flatten, max_pool2d, unflatten
from .graph import capture
from .inference import predict, probabilities
from .init import manual_seed
from .io import load, register_model, save
from .layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    LeakyReLU,
    Linear,
    MaxPool2d,
    MaxUnpool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    Unpool2d,
    Upsample,
    convolutionalize,
)
from .models import FCN, VGG, Autoencoder, DeconvNet, FCN8s, FCN16s, FCN32s, LeNet, ResNet, SegNet, UNet
from .modes import enable_grad, inference_mode, is_grad_enabled, no_grad
from .module import Module, ModuleList
from .optim import SGD, Adagrad, Adam, AdamW, RMSprop
from .optimizer import Optimizer, clip_grad_norm_
from .parameter import Parameter
from .scenery import scenes
from .summary import Summary, summary
from .tensor import Tensor
from .trainer import Step, TrainingError
from .training import Result, Settings, fit

globals().update({name: getattr(functional, name) for name in functional.__all__})

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Any]: ...


__all__ = [
    "FCN",
    "SGD",
    "VGG",
    "Adagrad",
    "Adam",
    "AdamW",
    "Autoencoder",
    "AvgPool2d",
    "BatchNorm2d",
    "Classified",
    "Conv2d",
    "ConvTranspose2d",
    "Data",
    "DeconvNet",
    "Dropout",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "Flatten",
    "GlobalAvgPool2d",
    "LeNet",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "MaxUnpool2d",
    "Module",
    "ModuleList",
    "Optimizer",
    "Parameter",
    "RMSprop",
    "ReLU",
    "ResNet",
    "Result",
    "Sample",
    "SegNet",
    "Sequential",
    "Settings",
    "Sigmoid",
    "Softmax",
    "Step",
    "Summary",
    "Tanh",
    "Tensor",
    "TrainingError",
    "UNet",
    "Unpool2d",
    "Upsample",
    "batch_norm",
    "capture",
    "clip_grad_norm_",
    "concatenate",
    "convolutionalize",
    "crop",
    "digits",
    "dropout",
    "enable_grad",
    "export_onnx",
    "fashion_mnist",
    "fit",
    "flatten",
    "from_arrays",
    "from_pytorch",
    "functional",
    "inference_mode",
    "init",
    "is_grad_enabled",
    "load",
    "manual_seed",
    "max_pool2d",
    "metrics",
    "no_grad",
    "nuclei",
    "predict",
    "probabilities",
    "read_folder",
    "register_model",
    "save",
    "scenes",
    "schedules",
    "summary",
    "to_pytorch",
    "unflatten",
]
__all__ += sorted({*functional.__all__} - {*__all__})  # made from the operators' declarations
