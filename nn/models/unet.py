"""U-Net: Ronneberger, Fischer & Brox 2015, "U-Net: convolutional networks for biomedical image segmentation"."""

from __future__ import annotations

from ... import kernels
from ..functional import Input, centre, concatenate, crop
from ..init import Seed, generator
from ..io import register_model
from ..layers import BatchNorm2d, Conv2d, ConvTranspose2d, Dropout, MaxPool2d, ReLU, Sequential
from ..module import Module, ModuleList
from ..tensor import Tensor
from .network import Network


def double_convolution(
    in_channels: int, out_channels: int, padding: int, rng: Seed, batch_norm: bool = False, dropout: float = 0
) -> Sequential:
    """Two 3x3 convolutions, each followed by ReLU, with `batch_norm` in between and no bias; `dropout` at the end."""
    layers: list[Module] = []
    for channels in (in_channels, out_channels):
        layers += [Conv2d(channels, out_channels, 3, padding=padding, bias=not batch_norm, rng=rng)]
        layers += [BatchNorm2d(out_channels)] * batch_norm + [ReLU()]
    return Sequential(*layers, *[Dropout(dropout)] * bool(dropout))


@register_model
class UNet(Network):
    """N x in_channels x H x W images -> N x classes x H' x W' scores (logits) of every pixel.

    Level i of depth + 1 has width 2^i channels. Down: two 3x3 convolutions with ReLU, then 2x2 max-pooling. Up: a 2x2
    transposed convolution of stride 2, the level's features from the way down (cropped in the middle where they are
    larger) before it as [skip, up], then two 3x3 convolutions with ReLU. A 1x1 convolution at the end.

    padded=True pads every 3x3 convolution with zeros: H' = H, W' = W, both multiples of 2^depth (`multiple`).
    padded=False is the paper's form: 572 -> 388 at depth 4; `output_size` and `valid_input_size` give the others.
    batch_norm=True normalises after every 3x3 convolution, which then has no bias (not in the paper; Ioffe & Szegedy
    2015). dropout: the probability of dropping a feature at the end of the way down, the bottom level (section 3.1).
    rng: a NumPy Generator or a seed for the initial weights (He et al. 2015, biases 0); None: that of `manual_seed`.

    Parameters are named, and shaped, as in PyTorch for ModuleLists enc, up and dec of Sequential(Conv2d, ReLU, Conv2d,
    ReLU) and ConvTranspose2d (up and dec from the bottom up), and a Conv2d head:
    enc.{0..depth}.{0,2}.{weight,bias}, up.{0..depth-1}.{weight,bias}, dec.{0..depth-1}.{0,2}.{weight,bias},
    head.{weight,bias}. Such a PyTorch model's state_dict loads, and the reverse. With batch_norm the Sequentials are
    (Conv2d, BatchNorm2d, ReLU, Conv2d, BatchNorm2d, ReLU), numbered accordingly.
    """

    depth: int
    padded: bool

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        width: int = 64,
        depth: int = 4,
        padded: bool = True,
        batch_norm: bool = False,
        dropout: float = 0.0,
        *,
        rng: Seed = None,
    ) -> None:
        """Build the layers, bottom level included, and draw their weights in the order of `state_dict`."""
        flags = {"padded": bool(padded), "batch_norm": bool(batch_norm)}
        self._configure(in_channels=in_channels, classes=classes, width=width, depth=depth, **flags, dropout=dropout)
        rng, padding = generator(rng), int(self.padded)
        channels = [width * 2**level for level in range(depth + 1)]
        upward = list(reversed(range(depth)))
        self.enc = ModuleList(
            double_convolution(first, last, padding, rng, self.batch_norm, dropout if last == channels[-1] else 0)
            for first, last in zip([in_channels, *channels], channels, strict=False)
        )
        self.pool = MaxPool2d(2)
        self.up = ModuleList(ConvTranspose2d(channels[i + 1], channels[i], 2, stride=2, rng=rng) for i in upward)
        self.dec = ModuleList(
            double_convolution(channels[i + 1], channels[i], padding, rng, self.batch_norm) for i in upward
        )
        self.head = Conv2d(width, classes, 1, rng=rng)

    def forward(self, images: Input) -> Tensor:
        """Scores of every pixel. Raises ValueError for a wrong number of channels or a size that does not fit."""
        x = self._images(images)
        self.output_size(*x.shape[2:])
        lost = 0 if self.padded else 4  # pixels that two convolutions take from the height and the width
        levels = []
        for level in range(self.depth):
            n, _, h, w = x.shape
            # What the way up reads as one array is one from the start, so that concatenating it copies nothing.
            _, slots = kernels.channel_slots((n, h - lost, w - lost), 2 * [self.width * 2**level], x.dtype, like=x.data)
            skip = self.enc[level](x, out=None if self.batch_norm else slots[0])  # only a convolution can write there
            levels.append((skip, slots[1]))
            x = self.pool(skip)
        x = self.enc[self.depth](x)
        for up, dec in zip(self.up, self.dec, strict=True):
            skip, slot = levels.pop()
            size = 2 * x.shape[2], 2 * x.shape[3]
            x = dec(concatenate([crop(skip, size), up(x, out=slot[centre(slot.shape, size)])]))
        return self.head(x)

    @property
    def multiple(self) -> int:
        """2^depth: allowed heights and widths are this far apart (padded: they are its multiples)."""
        return 2**self.depth

    @property
    def margin(self) -> int:
        """How many pixels the scores lack on each side of the image: 0 if padded, else 6 * 2^depth - 4."""
        return 0 if self.padded else 6 * self.multiple - 4

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """The scores' (height, width) for images of this size; ValueError, with sizes that fit, where it does not."""
        size = height - 2 * self.margin, width - 2 * self.margin
        fits = self.valid_input_size(*size)
        if fits != (height, width):
            rule = f"multiples of {self.multiple}" + ("" if self.padded else " minus 4")
            raise ValueError(
                f"UNet: images are {height} x {width}; with depth={self.depth} and padded={self.padded} both must"
                f" be {rule}, here at least {fits[0]} x {fits[1]}"
            )
        return size

    def valid_input_size(self, height: int, width: int) -> tuple[int, int]:
        """The smallest allowed (height, width) of images whose scores cover at least these (height, width)."""
        lost = 0 if self.padded else 4  # allowed sizes s have s + lost divisible by `multiple`
        smallest = (max(side, 1) + 2 * self.margin + lost for side in (height, width))
        rows, columns = (-(-side // self.multiple) * self.multiple - lost for side in smallest)
        return rows, columns
