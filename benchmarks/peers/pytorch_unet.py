"""U-Net in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


class Block(torch.nn.Sequential):
    """Two 3x3 convolutions with ReLU."""

    def __init__(self, first: int, last: int, padding: int) -> None:
        super().__init__(
            torch.nn.Conv2d(first, last, 3, padding=padding),
            torch.nn.ReLU(),
            torch.nn.Conv2d(last, last, 3, padding=padding),
            torch.nn.ReLU(),
        )


class UNet(torch.nn.Module):
    """`upconv.nn.UNet` in PyTorch, parameters under the same names."""

    def __init__(self, in_channels: int, classes: int, width: int, depth: int, padded: bool = True) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(depth + 1)]
        pairs = list(zip(channels[1:], channels[:-1], strict=True))[::-1]
        padding = int(padded)
        self.enc = torch.nn.ModuleList(
            Block(a, b, padding) for a, b in zip([in_channels, *channels], channels, strict=False)
        )
        self.up = torch.nn.ModuleList(torch.nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.dec = torch.nn.ModuleList(Block(a, b, padding) for a, b in pairs)
        self.head = torch.nn.Conv2d(width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for block in self.enc[:-1]:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.enc[-1](x)
        for up, block in zip(self.up, self.dec, strict=True):
            skip, x = skips.pop(), up(x)
            top, left = ((a - b) // 2 for a, b in zip(skip.shape[2:], x.shape[2:], strict=True))
            skip = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
            x = block(torch.cat([skip, x], 1))
        return self.head(x)


def like(model: Any) -> UNet:
    """The PyTorch twin of an `upconv.nn.UNet` without batch normalisation or dropout, with its weights."""
    twin = UNet(*(model.config[name] for name in ("in_channels", "classes", "width", "depth", "padded")))
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in model.state_dict().items()})
    return twin
