"""A convolutional autoencoder: Masci, Meier, Ciresan & Schmidhuber 2011, "Stacked convolutional auto-encoders for
hierarchical feature extraction", with today's strided convolutions in place of its pooling."""

from __future__ import annotations

from itertools import pairwise

from ..functional import Input, unflatten
from ..init import Seed, generator
from ..io import register_model
from ..layers import Conv2d, ConvTranspose2d, Flatten, Linear, ReLU, Sequential
from ..layers.arguments import Pair, pair
from ..module import Module
from ..tensor import Tensor, as_tensor
from .network import Network


@register_model
class Autoencoder(Network):
    """N x in_channels x H x W images -> codes of `bottleneck` numbers -> images of the same shape.

    `encode`: depth 4x4 convolutions of stride 2 with ReLU to width, 2 width, 4 width, ... channels, each half the size
    of the one before; then a fully connected layer to the code. `decode` is its mirror, with 4x4 transposed
    convolutions of stride 2, which cover every pixel evenly. What comes out is linear: train it with `mse_loss` against
    the image, or with noise added to what goes in against the clean image (a denoising autoencoder).

    size: height and width of the images, or one number for both, multiples of 2^depth. bottleneck: any positive number;
    the smaller, the more has to be left out. rng as in `UNet`.

    Names: encoder.{0,2,...}, encoder.{2 depth + 1} (fully connected); decoder_input; decoder.{0,2,...}.
    """

    depth: int
    bottleneck: int
    size: tuple[int, int]

    def __init__(
        self,
        in_channels: int = 1,
        bottleneck: int = 32,
        size: Pair = 28,
        width: int = 16,
        depth: int = 2,
        *,
        rng: Seed = None,
    ) -> None:
        """Build the layers and draw their weights."""
        self._configure(in_channels=in_channels, bottleneck=bottleneck, width=width, depth=depth)
        self.size = pair("Autoencoder: size", size)
        self.config["size"] = list(self.size)
        if any(side % 2**depth for side in self.size):
            raise ValueError(f"Autoencoder: size is {size}; multiples of {2**depth} are needed with depth={depth}")
        rng = generator(rng)
        widths = [in_channels, *(width * 2**level for level in range(depth))]
        height, columns = (side // 2**depth for side in self.size)
        self.smallest = widths[-1], height, columns
        features = widths[-1] * height * columns
        down: list[Module] = []
        for first, last in pairwise(widths):
            down += [Conv2d(first, last, 4, stride=2, padding=1, rng=rng), ReLU()]
        self.encoder = Sequential(*down, Flatten(), Linear(features, bottleneck, rng=rng))
        self.decoder_input = Linear(bottleneck, features, rng=rng)
        up: list[Module] = []
        for first, last in zip(widths[:0:-1], widths[-2::-1], strict=True):
            up += [ReLU(), ConvTranspose2d(first, last, 4, stride=2, padding=1, rng=rng)]
        self.decoder = Sequential(*up[1:])

    def forward(self, images: Input) -> Tensor:
        """decode(encode(images)). Raises ValueError for images of another shape."""
        return self.decode(self.encode(images))

    def encode(self, images: Input) -> Tensor:
        """N x in_channels x H x W -> N x bottleneck. Raises ValueError for images of another shape."""
        return self.encoder(self._images(images, exactly=self.size))

    def decode(self, codes: Input) -> Tensor:
        """N x bottleneck -> N x in_channels x H x W. Raises ValueError for codes of another length."""
        codes = as_tensor(codes)
        if codes.ndim != 2 or codes.shape[1] != self.bottleneck:
            raise ValueError(f"Autoencoder: codes have shape {codes.shape}; N x {self.bottleneck} is needed")
        return self.decoder(unflatten(self.decoder_input(codes, activation="relu"), 1, self.smallest))
