"""Networks in PyTorch under the names that PyTorch's users know. Importing this needs torch."""

import torch
import torch.nn.functional as F
from torch import nn as tnn

PLANS = {  # torchvision's
    11: (1, "M", 2, "M", 4, 4, "M", 8, 8, "M", 8, 8, "M"),
    16: (1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M"),
}
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


def torch_vgg(plan, classes, channels, width, batch_norm, side):
    class Twin(tnn.Module):
        def __init__(self):
            super().__init__()
            layers, before = [], channels
            for item in plan:
                if item == "M":
                    layers.append(tnn.MaxPool2d(2, 2))
                    continue
                layers.append(tnn.Conv2d(before, item * width, 3, padding=1))
                before = item * width
                layers += [tnn.BatchNorm2d(before)] * batch_norm + [tnn.ReLU()]
            hidden = 64 * width
            self.features = tnn.Sequential(*layers)
            self.avgpool = tnn.AdaptiveAvgPool2d(side)
            self.classifier = tnn.Sequential(
                *(tnn.Linear(8 * width * side**2, hidden), tnn.ReLU(), tnn.Dropout()),
                *(tnn.Linear(hidden, hidden), tnn.ReLU(), tnn.Dropout()),
                tnn.Linear(hidden, classes),
            )

        def forward(self, x):
            return self.classifier(self.avgpool(self.features(x)).flatten(1))

    return Twin()


def torch_resnet(blocks, classes, channels, width):
    class Block(tnn.Module):
        def __init__(self, inside, outside, stride):
            super().__init__()
            self.conv1 = tnn.Conv2d(inside, outside, 3, stride, 1, bias=False)
            self.bn1 = tnn.BatchNorm2d(outside)
            self.relu = tnn.ReLU(inplace=True)
            self.conv2 = tnn.Conv2d(outside, outside, 3, 1, 1, bias=False)
            self.bn2 = tnn.BatchNorm2d(outside)
            self.downsample = None
            if stride != 1 or inside != outside:
                conv = tnn.Conv2d(inside, outside, 1, stride, bias=False)
                self.downsample = tnn.Sequential(conv, tnn.BatchNorm2d(outside))

        def forward(self, x):
            identity = x if self.downsample is None else self.downsample(x)
            return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + identity)

    class Twin(tnn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = tnn.Conv2d(channels, width, 7, 2, 3, bias=False)
            self.bn1, self.relu = tnn.BatchNorm2d(width), tnn.ReLU()
            self.maxpool = tnn.MaxPool2d(3, 2, 1)
            inside = width
            for number, amount in enumerate(blocks):
                outside = width * 2**number
                stage = [Block(inside, outside, 2 if number else 1)]
                stage += [Block(outside, outside, 1) for _ in range(amount - 1)]
                setattr(self, f"layer{number + 1}", tnn.Sequential(*stage))
                inside = outside
            self.avgpool, self.fc = tnn.AdaptiveAvgPool2d(1), tnn.Linear(inside, classes)

        def forward(self, x):
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(self.avgpool(x).flatten(1))

    return Twin()


class Twice(tnn.Module):
    """Two convolutions; the names of this and of what follows are those of https://github.com/milesial/Pytorch-UNet."""

    def __init__(self, inside, outside, batch_norm):
        super().__init__()
        layers = []
        for channels in (inside, outside):
            layers += [tnn.Conv2d(channels, outside, 3, padding=1, bias=not batch_norm)]
            layers += [tnn.BatchNorm2d(outside)] * batch_norm + [tnn.ReLU(inplace=True)]
        self.double_conv = tnn.Sequential(*layers)

    def forward(self, x):
        return self.double_conv(x)


class Down(tnn.Module):
    def __init__(self, inside, outside, batch_norm):
        super().__init__()
        self.maxpool_conv = tnn.Sequential(tnn.MaxPool2d(2), Twice(inside, outside, batch_norm))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(tnn.Module):
    def __init__(self, inside, outside, batch_norm):
        super().__init__()
        self.up = tnn.ConvTranspose2d(inside, outside, 2, stride=2)
        self.conv = Twice(inside, outside, batch_norm)

    def forward(self, x, skip):
        x = self.up(x)
        lacking = [a - b for a, b in zip(skip.shape[2:], x.shape[2:], strict=True)]
        x = F.pad(x, [lacking[1] // 2, lacking[1] - lacking[1] // 2, lacking[0] // 2, lacking[0] - lacking[0] // 2])
        return self.conv(torch.cat([skip, x], dim=1))


class Out(tnn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.conv = tnn.Conv2d(inside, outside, 1)

    def forward(self, x):
        return self.conv(x)


class UNet(tnn.Module):
    def __init__(self, channels, classes, width, depth, batch_norm):
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.depth, self.inc = depth, Twice(channels, width, batch_norm)
        for i in range(depth):
            setattr(self, f"down{i + 1}", Down(widths[i], widths[i + 1], batch_norm))
            setattr(self, f"up{depth - i}", Up(widths[i + 1], widths[i], batch_norm))
        self.outc = Out(width, classes)

    def forward(self, x):
        levels = [self.inc(x)]
        for i in range(self.depth):
            levels.append(getattr(self, f"down{i + 1}")(levels[-1]))
        x = levels.pop()
        for i in range(self.depth):
            x = getattr(self, f"up{i + 1}")(x, levels.pop())
        return self.outc(x)
