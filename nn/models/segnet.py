"""SegNet: Badrinarayanan, Kendall & Cipolla 2017, "SegNet: a deep convolutional encoder-decoder architecture for image
segmentation" (arXiv 2015, 2016)."""

from __future__ import annotations

from ..functional import Input
from ..init import Seed, generator
from ..io import register_model
from ..layers import Conv2d, MaxPool2d, MaxUnpool2d, Sequential
from ..module import ModuleList
from ..tensor import Tensor
from .network import Network
from .vgg import STAGES, convolutions, stage_widths


@register_model
class SegNet(Network):
    """N x in_channels x H x W images -> N x classes x H x W scores (logits) of every pixel: figure 2, section 3.

    Down: the stages of VGG-16, 3x3 convolutions with batch normalisation and ReLU, each ended by a 2x2 max-pooling that
    remembers where its maxima were. Up, from the last stage to the first: the values go back to those places, zeros
    elsewhere, and the mirrored convolutions make the map dense. The very last convolution gives the scores.

    depth: how many of the five stages are used, 1 to 5, which have width, 2, 4, 8 and 8 width channels. H and W: at
    least 2^depth, any. batch_norm=False leaves the normalisation out. rng as in `UNet`.

    Names: enc.{stage}.{i}... is convolution, normalisation, ReLU, ... of the way down, numbered as in VGG but from 0 in
    each stage; dec.{stage}.{i}... of the way up, dec.0 being the lowest; head.{weight,bias}.
    """

    depth: int

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 2,
        width: int = 64,
        depth: int = 5,
        batch_norm: bool = True,
        *,
        rng: Seed = None,
    ) -> None:
        """Build the layers and draw their weights."""
        arguments = {"in_channels": in_channels, "classes": classes, "width": width, "depth": depth}
        self._configure(**arguments, batch_norm=bool(batch_norm))
        self._choice("depth", range(1, 6))
        rng, counts = generator(rng), STAGES[16][:depth]
        widths = [in_channels, *stage_widths(width)[:depth]]
        self.enc = ModuleList(
            Sequential(*convolutions(widths[i], widths[i + 1], count, self.batch_norm, rng))
            for i, count in enumerate(counts)
        )
        self.pool, self.unpool = MaxPool2d(2, return_indices=True), MaxUnpool2d(2)
        widths[0] = width  # the first stage's mirror ends before the head
        self.dec = ModuleList(
            Sequential(
                *convolutions(widths[i + 1], widths[i + 1], counts[i] - 1, self.batch_norm, rng),
                *(convolutions(widths[i + 1], widths[i], 1, self.batch_norm, rng) if i else ()),
            )
            for i in reversed(range(depth))
        )
        self.head = Conv2d(width, classes, 3, padding=1, rng=rng)

    def forward(self, images: Input) -> Tensor:
        """Scores of every pixel. Raises ValueError for a wrong number of channels, or images that are too small."""
        x, remembered = self._images(images, least=2**self.depth), []
        for stage in self.enc:
            x = stage(x)
            size = x.shape[2:]
            x, indices = self.pool(x)
            remembered.append((indices, size))
        for stage in self.dec:
            indices, size = remembered.pop()
            x = stage(self.unpool(x, indices, output_size=size))
        return self.head(x)
