"""The networks."""

from .autoencoder import Autoencoder
from .deconvnet import DeconvNet
from .fcn import FCN, FCN8s, FCN16s, FCN32s
from .lenet import LeNet
from .resnet import ResNet
from .segnet import SegNet
from .unet import UNet
from .vgg import VGG

__all__ = ["FCN", "VGG", "Autoencoder", "DeconvNet", "FCN8s", "FCN16s", "FCN32s", "LeNet", "ResNet", "SegNet", "UNet"]
