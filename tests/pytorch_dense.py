"""FCN, SegNet, DeconvNet, the autoencoder and LeNet in PyTorch, under our names. Importing needs torch."""

import torch.nn.functional as F
from torch import nn as tnn

COUNTS = (2, 2, 3, 3, 3)  # convolutions in the stages of VGG-16


def widths(channels, width):
    return [channels, width, 2 * width, 4 * width, 8 * width, 8 * width]


def normalised(layer, batch_norm):
    return [layer, *[tnn.BatchNorm2d(layer.out_channels)] * batch_norm, tnn.ReLU()]


def convolutions(inside, outside, count, batch_norm, kind=tnn.Conv2d):
    layers = []
    for channels in (inside, *[outside] * (count - 1)):
        layers += normalised(kind(channels, outside, 3, padding=1), batch_norm)
    return layers


class FCN(tnn.Module):
    """Coarse scores, enlarged by 32, 16 or 8 (`last`), with those of pool4 and pool3 added on the way."""

    def __init__(self, channels, classes, width, last):
        super().__init__()
        layers, sizes, hidden = [], widths(channels, width), 64 * width
        for count, inside, outside in zip(COUNTS, sizes[:-1], sizes[1:], strict=True):
            layers += [*convolutions(inside, outside, count, False), tnn.MaxPool2d(2, ceil_mode=True)]
        self.last, self.features = last, tnn.Sequential(*layers)
        self.fc6, self.fc7 = tnn.Conv2d(8 * width, hidden, 7, padding=3), tnn.Conv2d(hidden, hidden, 1)
        self.score_fr = tnn.Conv2d(hidden, classes, 1)

        def enlarging(stride):
            return tnn.ConvTranspose2d(classes, classes, 2 * stride, stride, stride // 2, bias=False)

        if last < 32:
            self.upscore2, self.score_pool4 = enlarging(2), tnn.Conv2d(8 * width, classes, 1)
        if last < 16:
            self.upscore_pool4, self.score_pool3 = enlarging(2), tnn.Conv2d(4 * width, classes, 1)
        setattr(self, self.final, enlarging(last))

    @property
    def final(self):
        return "upscore" if self.last == 32 else f"upscore{self.last}"

    def forward(self, x):
        rows, columns = x.shape[2:]
        pool3 = self.features[:17](x)
        pool4 = self.features[17:24](pool3)
        y = self.score_fr(F.relu(self.fc7(F.relu(self.fc6(self.features[24:](pool4))))))
        if self.last < 32:
            y = self.joined(self.upscore2(y), self.score_pool4(pool4))
        if self.last < 16:
            y = self.joined(self.upscore_pool4(y), self.score_pool3(pool3))
        return getattr(self, self.final)(y)[:, :, :rows, :columns]

    def joined(self, y, skip):
        return y[:, :, : skip.shape[2], : skip.shape[3]] + skip


class Unpooling(tnn.Module):
    """What SegNet and DeconvNet share: down, what is in the middle, and up by way of the remembered places."""

    def forward(self, x):
        remembered = []
        for stage in self.enc:
            x = stage(x)
            size = x.shape[2:]
            x, indices = F.max_pool2d(x, 2, return_indices=True)
            remembered.append((indices, size))
        x = self.middle(x)
        for stage in self.dec:
            indices, size = remembered.pop()
            x = stage(F.max_unpool2d(x, indices, 2, output_size=size))
        return self.head(x)


class SegNet(Unpooling):
    def __init__(self, channels, classes, width, depth, batch_norm):
        super().__init__()
        sizes = widths(channels, width)
        self.enc = tnn.ModuleList(
            tnn.Sequential(*convolutions(sizes[i], sizes[i + 1], COUNTS[i], batch_norm)) for i in range(depth)
        )
        self.middle = tnn.Identity()
        self.dec = tnn.ModuleList(
            tnn.Sequential(
                *convolutions(sizes[i + 1], sizes[i + 1], COUNTS[i] - 1, batch_norm),
                *(convolutions(sizes[i + 1], sizes[i], 1, batch_norm) if i else ()),
            )
            for i in reversed(range(depth))
        )
        self.head = tnn.Conv2d(width, classes, 3, padding=1)


class DeconvNet(Unpooling):
    def __init__(self, channels, classes, width, depth, window, tied, batch_norm):
        super().__init__()
        sizes, hidden = widths(channels, width), 64 * width
        self.enc = tnn.ModuleList(
            tnn.Sequential(*convolutions(sizes[i], sizes[i + 1], COUNTS[i], batch_norm)) for i in range(depth)
        )
        self.middle = tnn.Sequential(
            *normalised(tnn.Conv2d(sizes[depth], hidden, window), batch_norm),
            *normalised(tnn.Conv2d(hidden, hidden, 1), batch_norm),
            *normalised(tnn.ConvTranspose2d(hidden, sizes[depth], window), batch_norm),
        )
        self.dec = tnn.ModuleList()
        for i in reversed(range(depth)):
            layers = convolutions(sizes[i + 1], sizes[i + 1], COUNTS[i] - 1, batch_norm, tnn.ConvTranspose2d)
            last = convolutions(sizes[i + 1], sizes[i] if i else width, 1, batch_norm, tnn.ConvTranspose2d)
            self.dec.append(tnn.Sequential(*layers, *last))
        self.head = tnn.Conv2d(width, classes, 1)
        if tied:
            filters = [layer for layer in self.enc.modules() if isinstance(layer, tnn.Conv2d)]
            mirrored = [layer for layer in self.dec.modules() if isinstance(layer, tnn.ConvTranspose2d)][::-1]
            for down, back in zip(
                [self.middle[0], *filters[1:]], [self.middle[-2 - batch_norm], *mirrored[1:]], strict=True
            ):
                back.weight = down.weight


class Autoencoder(tnn.Module):
    """For square images, two levels deep."""

    def __init__(self, channels, bottleneck, size, width):
        super().__init__()
        features = 2 * width * (size // 4) ** 2
        self.encoder = tnn.Sequential(
            *(tnn.Conv2d(channels, width, 4, 2, 1), tnn.ReLU(), tnn.Conv2d(width, 2 * width, 4, 2, 1), tnn.ReLU()),
            *(tnn.Flatten(), tnn.Linear(features, bottleneck)),
        )
        self.decoder_input = tnn.Linear(bottleneck, features)
        self.smallest = 2 * width, size // 4, size // 4
        self.decoder = tnn.Sequential(
            tnn.ConvTranspose2d(2 * width, width, 4, 2, 1), tnn.ReLU(), tnn.ConvTranspose2d(width, channels, 4, 2, 1)
        )

    def forward(self, x):
        return self.decoder(F.relu(self.decoder_input(self.encoder(x))).unflatten(1, self.smallest))


class LeNet(tnn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.features = tnn.Sequential(
            *(tnn.Conv2d(channels, 6, 5), tnn.Tanh(), tnn.AvgPool2d(2)),
            *(tnn.Conv2d(6, 16, 5), tnn.Tanh(), tnn.AvgPool2d(2)),
            *(tnn.Conv2d(16, 120, 5), tnn.Tanh(), tnn.Flatten()),
        )
        self.classifier = tnn.Sequential(tnn.Linear(120, 84), tnn.Tanh(), tnn.Linear(84, classes))

    def forward(self, x):
        return self.classifier(self.features(x))
