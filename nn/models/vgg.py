"""VGG: Simonyan & Zisserman 2015, "Very deep convolutional networks for large-scale image recognition"."""

from __future__ import annotations

from ..functional import Input
from ..init import Seed, generator
from ..io import register_model
from ..layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential
from ..module import Module
from ..tensor import Tensor
from .network import Network

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # table 1: A, B, D, E


def stage_widths(width: int) -> list[int]:
    """The channels of the five stages: 64, 128, 256, 512, 512 for the paper's width 64."""
    return [width, 2 * width, 4 * width, 8 * width, 8 * width]


def convolutions(in_channels: int, out_channels: int, count: int, batch_norm: bool, rng: Seed) -> list[Module]:
    """`count` times a 3x3 convolution that keeps the size, batch normalisation if wanted, and ReLU."""
    layers: list[Module] = []
    for channels in (in_channels, *[out_channels] * (count - 1)):
        layers += [Conv2d(channels, out_channels, 3, padding=1, rng=rng)]
        layers += [BatchNorm2d(out_channels)] * batch_norm + [ReLU()]
    return layers


def vgg_features(
    depth: int, in_channels: int, width: int, batch_norm: bool = False, ceil_mode: bool = False, rng: Seed = None
) -> Sequential:
    """The convolutional part: five stages of convolutions, a 2x2 max-pooling at the end of each."""
    layers: list[Module] = []
    for count, channels in zip(STAGES[depth], stage_widths(width), strict=True):
        layers += [*convolutions(in_channels, channels, count, batch_norm, rng), MaxPool2d(2, ceil_mode=ceil_mode)]
        in_channels = channels
    return Sequential(*layers)


@register_model
class VGG(Network):
    """N x in_channels x size x size images -> N x classes scores (logits): table 1 of the paper.

    Five stages of 3x3 convolutions with ReLU, width, 2, 4, 8 and 8 width channels, a 2x2 max-pooling after each; then
    two fully connected layers of 64 width features with ReLU and dropout, and a third to the classes.

    depth: 11, 13, 16 or 19 layers with weights (the paper's A, B, D, E). batch_norm: after every convolution (not in
    the paper). size: height and width, a multiple of 32. dropout: 0 for none. rng as in `UNet`.

    Parameters are named and shaped as in torchvision's vgg11, vgg16, vgg16_bn, ...: features.{i}.weight,
    features.{i}.running_mean, classifier.{0,3,6}.weight, ...; state dicts go both ways.
    """

    depth: int
    size: int

    def __init__(
        self,
        depth: int = 16,
        classes: int = 1000,
        in_channels: int = 3,
        width: int = 64,
        batch_norm: bool = False,
        size: int = 224,
        dropout: float = 0.5,
        *,
        rng: Seed = None,
    ) -> None:
        """Build the layers and draw their weights."""
        arguments = {"depth": depth, "classes": classes, "in_channels": in_channels, "width": width, "size": size}
        self._configure(**arguments, batch_norm=bool(batch_norm), dropout=dropout)
        self._choice("depth", STAGES)
        if size % 32:
            raise ValueError(f"VGG: size is {size}; a multiple of 32 is needed")
        rng, hidden, sides = generator(rng), 64 * width, (size // 32) ** 2
        self.features = vgg_features(depth, in_channels, width, self.batch_norm, rng=rng)
        self.classifier = Sequential(
            Linear(8 * width * sides, hidden, rng=rng),
            ReLU(),
            Dropout(dropout),
            Linear(hidden, hidden, rng=rng),
            ReLU(),
            Dropout(dropout),
            Linear(hidden, classes, rng=rng),
        )
        self.flat = Flatten()

    def forward(self, images: Input) -> Tensor:
        """Scores of every image. Raises ValueError for a wrong number of channels or a wrong size."""
        return self.classifier(self.flat(self.features(self._images(images, exactly=(self.size, self.size)))))
