"""LeNet-5: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition"."""

from __future__ import annotations

from ..functional import Input
from ..init import Seed, generator
from ..io import register_model
from ..layers import AvgPool2d, Conv2d, Flatten, Linear, Sequential, Tanh
from ..tensor import Tensor
from .network import Network


@register_model
class LeNet(Network):
    """N x in_channels x 32 x 32 images -> N x classes scores (logits): section II.B and figure 2 of the paper.

    5x5 convolutions to 6, 16 and 120 maps (C1, C3, C5), the first two halved by 2x2 averages (S2, S4), then fully
    connected layers to 84 (F6) and to the classes; tanh between. This is today's common form: S2 and S4 learn nothing,
    C3 reads all maps of S2, and the output is linear, not radial basis functions. 61 706 parameters for 10 classes of
    grey images, where the paper's has 60 000.

    padding: zeros around the image; with 2, images are 28 x 28. width: the maps of C1, by which the others scale.
    rng as in `UNet`. Names: features.{0,3,6}.{weight,bias}, classifier.{0,2}.{weight,bias}.
    """

    padding: int

    def __init__(
        self, classes: int = 10, in_channels: int = 1, width: int = 6, padding: int = 0, *, rng: Seed = None
    ) -> None:
        """Build the layers and draw their weights."""
        self._configure(classes=classes, in_channels=in_channels, width=width)
        self.config["padding"] = self.padding = padding
        self._choice("padding", (0, 2))
        rng = generator(rng)
        widths = [width, width * 16 // 6, width * 20, width * 14]
        self.features = Sequential(
            Conv2d(in_channels, widths[0], 5, padding=padding, rng=rng),
            Tanh(),
            AvgPool2d(2),
            Conv2d(widths[0], widths[1], 5, rng=rng),
            Tanh(),
            AvgPool2d(2),
            Conv2d(widths[1], widths[2], 5, rng=rng),
            Tanh(),
            Flatten(),
        )
        self.classifier = Sequential(Linear(widths[2], widths[3], rng=rng), Tanh(), Linear(widths[3], classes, rng=rng))

    def forward(self, images: Input) -> Tensor:
        """Scores of every image. Raises ValueError for a wrong number of channels or a wrong size."""
        side = 32 - 2 * self.padding
        return self.classifier(self.features(self._images(images, exactly=(side, side))))
