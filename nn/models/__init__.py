"""The networks."""

from .lenet import LeNet
from .resnet import ResNet
from .unet import UNet
from .vgg import VGG

__all__ = ["VGG", "LeNet", "ResNet", "UNet"]
