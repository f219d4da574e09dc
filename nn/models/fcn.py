"""FCN: Long, Shelhamer & Darrell 2015, "Fully convolutional networks for semantic segmentation"."""

from __future__ import annotations

from typing import Self

import numpy as np

from ... import kernels
from ..functional import Input, crop
from ..init import Seed, generator
from ..io import register_model
from ..layers import Conv2d, ConvTranspose2d, Dropout, convolutionalize
from ..tensor import Tensor
from .network import Network
from .vgg import VGG, vgg_features


class Upscore(ConvTranspose2d):
    """A transposed convolution from classes to classes, without bias, that starts as bilinear enlargement by `stride`.

    The bilinear kernel for each class with itself, zeros between classes: section 3.3, and `kernels.bilinear_kernel`.
    """

    def __init__(self, classes: int, stride: int, padding: int) -> None:
        """padding: 0 keeps the border, stride / 2 gives exactly `stride` times the size."""
        tent = kernels.bilinear_kernel(stride)
        super().__init__(classes, classes, tent.shape[0], stride, padding, bias=False, rng=0)
        self.weight.data[...] = np.eye(classes, dtype=np.float32)[:, :, None, None] * tent


class FCN(Network):
    """What `FCN32s`, `FCN16s` and `FCN8s` share: VGG-16 with its fully connected layers as convolutions (fc6, fc7).

    N x in_channels x H x W images -> N x classes x H x W scores (logits) of every pixel, H and W any: section 4 and
    figure 3 of the paper. A 1x1 convolution turns fc7 into scores; transposed convolutions enlarge them.

    padding=100 is the paper's form: that many zeros around the image, none in fc6, and maps cropped where its authors
    crop them. padding="same" pads every convolution to keep its size: alike in all else, and cheaper on small images.
    width: VGG's, 64 in the paper; fc6 and fc7 have 64 width features. dropout: after each of the two. rng as in `UNet`;
    as in the paper the enlargements start bilinear and the skips' scores at 0.

    Names are the authors', and torchvision's in the encoder: features.{i}, fc6, fc7, score_fr, and then for FCN32s
    upscore, for FCN16s upscore2, score_pool4, upscore16, for FCN8s upscore2, score_pool4, upscore_pool4, score_pool3,
    upscore8. `start_from` takes over a trained VGG; the state of a coarser FCN loads with strict=False.
    """

    padding: int | str

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 21,
        width: int = 64,
        padding: int | str = "same",
        dropout: float = 0.5,
        *,
        rng: Seed = None,
    ) -> None:
        """Build the layers and draw their weights."""
        self._configure(in_channels=in_channels, classes=classes, width=width, dropout=dropout)
        self.config["padding"] = self.padding = padding
        self._choice("padding", ("same", 100))
        rng, hidden, self.same = generator(rng), 64 * width, padding == "same"
        self.features = vgg_features(16, in_channels, width, ceil_mode=True, rng=rng)
        self.features[0].window["padding"] = 1 if self.same else 100
        self.fc6 = Conv2d(8 * width, hidden, 7, padding=3 if self.same else 0, rng=rng)
        self.fc7 = Conv2d(hidden, hidden, 1, rng=rng)
        self.drop = Dropout(dropout)
        self.score_fr = Conv2d(hidden, classes, 1, rng=rng)
        self._build()

    def forward(self, images: Input) -> Tensor:
        """Scores of every pixel. Raises ValueError for a wrong number of channels."""
        x = self._images(images)
        pool3 = self.features[:17](x)
        pool4 = self.features[17:24](pool3)
        y = self.drop(self.fc6(self.features[24:](pool4), activation="relu"))
        y = self.score_fr(self.drop(self.fc7(y, activation="relu")))
        scores, offset = self._enlarged(y, pool4, pool3)
        return crop(scores, x.shape[2:], 0 if self.same else offset)

    def start_from(self, classifier: VGG) -> Self:
        """Take over the convolutions of a VGG-16 and its first two fully connected layers: section 4.1.

        Raises ValueError unless it is of depth 16, size 224, without batch_norm, and has this width and in_channels.
        """
        wanted = {"depth": 16, "size": 224, "batch_norm": False, "width": self.width, "in_channels": self.in_channels}
        wrong = [f"{name}={classifier.config[name]}" for name in wanted if classifier.config[name] != wanted[name]]
        if wrong:
            raise ValueError(f"start_from: classifier has {', '.join(wrong)}; a VGG with {wanted} is needed")
        self.features.load_state_dict(classifier.features.state_dict())
        self.fc6.load_state_dict(convolutionalize(classifier.classifier[0], 7).state_dict())
        self.fc7.load_state_dict(convolutionalize(classifier.classifier[3]).state_dict())
        return self

    def _build(self) -> None:
        """Make the layers after score_fr."""
        raise NotImplementedError

    def _enlarged(self, x: Tensor, pool4: Tensor, pool3: Tensor) -> tuple[Tensor, int]:
        """The scores x of fc7 enlarged to the image and its border, and with padding=100 the border's size."""
        raise NotImplementedError

    def _upscore(self, stride: int) -> Upscore:
        return Upscore(self.classes, stride, stride // 2 if self.same else 0)

    def _skip_score(self, channels: int) -> Conv2d:
        head = Conv2d(channels, self.classes, 1, rng=0)
        head.weight.data[...] = 0
        return head

    def _sum(self, x: Tensor, skip: Tensor, offset: int) -> Tensor:
        """x + skip where they overlap: rounding up made x too large, the paper's padding the skip."""
        if self.same:
            return crop(x, skip.shape[2:], 0) + skip
        return x + crop(skip, x.shape[2:], offset)


@register_model
class FCN32s(FCN):
    """FCN-32s: the scores of fc7 enlarged by 32 at once. Arguments, names and source: see `FCN`."""

    def _build(self) -> None:
        self.upscore = self._upscore(32)

    def _enlarged(self, x: Tensor, pool4: Tensor, pool3: Tensor) -> tuple[Tensor, int]:
        return self.upscore(x), 19


@register_model
class FCN16s(FCN):
    """FCN-16s: the scores of fc7 enlarged by 2, plus those of pool4, enlarged by 16. The rest: see `FCN`."""

    def _build(self) -> None:
        self.upscore2, self.score_pool4 = self._upscore(2), self._skip_score(8 * self.width)
        self.upscore16 = self._upscore(16)

    def _enlarged(self, x: Tensor, pool4: Tensor, pool3: Tensor) -> tuple[Tensor, int]:
        return self.upscore16(self._sum(self.upscore2(x), self.score_pool4(pool4), 5)), 27


@register_model
class FCN8s(FCN):
    """FCN-8s: as FCN-16s, but enlarged by 2, plus the scores of pool3, enlarged by 8. The rest: see `FCN`."""

    def _build(self) -> None:
        self.upscore2, self.score_pool4 = self._upscore(2), self._skip_score(8 * self.width)
        self.upscore_pool4, self.score_pool3 = self._upscore(2), self._skip_score(4 * self.width)
        self.upscore8 = self._upscore(8)

    def _enlarged(self, x: Tensor, pool4: Tensor, pool3: Tensor) -> tuple[Tensor, int]:
        x = self._sum(self.upscore2(x), self.score_pool4(pool4), 5)
        return self.upscore8(self._sum(self.upscore_pool4(x), self.score_pool3(pool3), 9)), 31
