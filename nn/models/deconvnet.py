"""DeconvNet: Noh, Hong & Han 2015, "Learning deconvolution network for semantic segmentation"."""

from __future__ import annotations

from ..functional import Input
from ..init import Seed, generator
from ..io import register_model
from ..layers import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d, MaxUnpool2d, ReLU, Sequential
from ..module import Module, ModuleList
from ..tensor import Tensor
from .network import Network
from .vgg import STAGES, convolutions, stage_widths


@register_model
class DeconvNet(Network):
    """N x in_channels x H x W images -> N x classes x H x W scores (logits) of every pixel: section 3, figure 2.

    Down: the stages of VGG-16 with batch normalisation, each ended by a 2x2 max-pooling that remembers where its maxima
    were; fc6, a `window` x `window` convolution, and fc7, a 1x1 one. Up, the mirror of it: the transpose of fc6, then
    stage by stage the values back to the remembered places and 3x3 transposed convolutions; at the end a 1x1
    convolution.

    tied=True: every transposed convolution has the filters of its partner on the way down, and a bias of its own, as
    in Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", section 2.1. The last has none: the
    first convolution reads the image's few channels. tied=False (Noh et al.): it has filters of its own.

    depth: how many of the five stages are used, which have width, 2, 4, 8 and 8 width channels; fc6 and fc7 have 64
    width. window: 7 in the paper, for images of 224 x 224; H and W are at least window 2^depth, any. rng as in `UNet`.

    Names: enc.{stage}.{i}... as in `SegNet`; middle.{0,1}, middle.{3,4}, middle.{6,7}: fc6, fc7, the transpose of fc6,
    and their normalisations; dec.{stage}.{i}..., dec.0 being the lowest; head. Tied filters are saved under both names.
    """

    depth: int
    window: int
    tied: bool

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 21,
        width: int = 64,
        depth: int = 5,
        window: int = 7,
        tied: bool = False,
        batch_norm: bool = True,
        *,
        rng: Seed = None,
    ) -> None:
        """Build the layers and draw their weights."""
        arguments = {"in_channels": in_channels, "classes": classes, "width": width, "depth": depth, "window": window}
        self._configure(**arguments, tied=bool(tied), batch_norm=bool(batch_norm))
        self._choice("depth", range(1, 6))
        rng, hidden = generator(rng), 64 * width
        widths = [in_channels, *stage_widths(width)[:depth]]
        self.enc = ModuleList(
            Sequential(*convolutions(widths[i], widths[i + 1], STAGES[16][i], self.batch_norm, rng))
            for i in range(depth)
        )
        self.pool, self.unpool = MaxPool2d(2, return_indices=True), MaxUnpool2d(2)
        fc6 = Conv2d(widths[-1], hidden, window, rng=rng)
        fc7 = Conv2d(hidden, hidden, 1, rng=rng)
        self.middle = Sequential(*self._normalised(fc6), *self._normalised(fc7), *self._mirrored(fc6, 0, rng))
        self.dec = ModuleList(
            Sequential(*(each for conv in _convolutions(stage) for each in self._mirrored(conv, 1, rng)))
            for stage in reversed(list(self.enc))
        )
        self.head = Conv2d(width, classes, 1, rng=rng)

    def forward(self, images: Input) -> Tensor:
        """Scores of every pixel. Raises ValueError for a wrong number of channels, or images that are too small."""
        x, remembered = self._images(images, least=self.window * 2**self.depth), []
        for stage in self.enc:
            x = stage(x)
            size = x.shape[2:]
            x, indices = self.pool(x)
            remembered.append((indices, size))
        x = self.middle(x)
        for stage in self.dec:
            indices, size = remembered.pop()
            x = stage(self.unpool(x, indices, output_size=size))
        return self.head(x)

    def _mirrored(self, conv: Conv2d, padding: int, rng: Seed) -> list[Module]:
        """The transposed convolution that leads back over `conv`, normalisation and ReLU."""
        first = conv is self.enc[0][0]  # type: ignore[index]  # a Sequential
        channels = conv.out_channels if first else conv.in_channels
        up = ConvTranspose2d(conv.out_channels, channels, conv.kernel_size, padding=padding, rng=rng)
        if self.tied and not first:
            up.weight = conv.weight
        return self._normalised(up)

    def _normalised(self, layer: Conv2d | ConvTranspose2d) -> list[Module]:
        return [layer, *[BatchNorm2d(layer.out_channels)] * self.batch_norm, ReLU()]


def _convolutions(stage: Module) -> list[Conv2d]:
    """The convolutions of a stage, last first."""
    return [layer for _, layer in stage.named_children() if isinstance(layer, Conv2d)][::-1]
