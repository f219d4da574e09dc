"""ResNet: He, Zhang, Ren & Sun 2016, "Deep residual learning for image recognition"."""

from __future__ import annotations

from .. import functional
from ..functional import Input
from ..init import Seed, generator
from ..io import register_model
from ..layers import BatchNorm2d, Conv2d, Flatten, GlobalAvgPool2d, Linear, MaxPool2d, Sequential
from ..module import Module
from ..tensor import Tensor
from .network import Network

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # table 1


class BasicBlock(Module):
    """y = relu(bn(conv(relu(bn(conv(x))))) + x), 3x3 both: figure 5, left; names are torchvision's.

    Where stride or channels change, x goes through a 1x1 convolution of that stride and batch normalisation
    (`downsample`): the paper's option B.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, rng: Seed = None) -> None:
        """Build the layers and draw their weights; stride: of the first convolution."""
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False, rng=rng)
        self.bn1 = BatchNorm2d(out_channels)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng)
        self.bn2 = BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            shortcut = Conv2d(in_channels, out_channels, 1, stride, bias=False, rng=rng)
            self.downsample = Sequential(shortcut, BatchNorm2d(out_channels))

    def forward(self, x: Input) -> Tensor:
        """N C H W -> N K H/stride W/stride, rounded up."""
        y = self.bn1(self.conv1(x), activation="relu")
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


@register_model
class ResNet(Network):
    """N x in_channels x H x W images -> N x classes scores (logits): table 1 of the paper, 18 or 34 layers.

    A 7x7 convolution and a 3x3 max-pooling, both of stride 2; four stages of `BasicBlock`s, width, 2, 4 and 8 width
    channels, each but the first of stride 2; the mean of each map; a fully connected layer. Any H and W.

    depth: 18 or 34 layers with weights. rng as in `UNet`. Parameters and buffers are named and shaped as in
    torchvision's resnet18 and resnet34 (conv1.weight, layer1.0.bn1.running_mean, layer2.0.downsample.0.weight,
    fc.weight, ...); state dicts go both ways.
    """

    depth: int

    def __init__(
        self, depth: int = 18, classes: int = 1000, in_channels: int = 3, width: int = 64, *, rng: Seed = None
    ) -> None:
        """Build the layers and draw their weights."""
        self._configure(depth=depth, classes=classes, in_channels=in_channels, width=width)
        self._choice("depth", BLOCKS)
        rng = generator(rng)
        self.conv1 = Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False, rng=rng)
        self.bn1 = BatchNorm2d(width)
        self.maxpool = MaxPool2d(3, stride=2, padding=1)

        def stage(number: int) -> Sequential:
            last, first = width * 2**number, width * 2 ** max(number - 1, 0)
            blocks = [BasicBlock(first, last, stride=2 if number else 1, rng=rng)]
            blocks += [BasicBlock(last, last, rng=rng) for _ in range(BLOCKS[depth][number] - 1)]
            return Sequential(*blocks)

        self.layer1, self.layer2, self.layer3, self.layer4 = map(stage, range(4))
        self.avgpool, self.flat = GlobalAvgPool2d(), Flatten()
        self.fc = Linear(8 * width, classes, rng=rng)

    def forward(self, images: Input) -> Tensor:
        """Scores of every image. Raises ValueError for a wrong number of channels."""
        x = self.maxpool(self.bn1(self.conv1(self._images(images)), activation="relu"))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(self.flat(self.avgpool(x)))
