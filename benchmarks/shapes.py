"""The shapes that are measured, each once, and the groups of cases that the report is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

from upconv.kernels.op import OPERATORS

from .cases import CONVOLUTION, TRANSPOSED, Layer, Maps, Network

# Convolutions of a U-Net as wide as the paper's and of a small one; others of the kinds that networks have
LAYERS = (
    Layer(1, 3, 64, 256, 3),
    Layer(1, 64, 64, 256, 3),
    Layer(1, 128, 128, 128, 3),
    Layer(1, 256, 256, 64, 3),
    Layer(1, 512, 512, 32, 3),
    Layer(1, 1024, 1024, 16, 3),
    Layer(8, 16, 16, 64, 3),
    Layer(8, 32, 32, 32, 3),
    Layer(1, 64, 64, 256, 3, dilation=2),
    Layer(1, 64, 128, 256, 3, stride=2),
    Layer(1, 64, 32, 256, 1),
)
# Upsampling in U-Net, then in FCN: by 2, by 8 and by 32
UPSAMPLING = (
    Layer(1, 128, 64, 128, 2, stride=2, transposed=True),
    Layer(1, 256, 128, 64, 2, stride=2, transposed=True),
    Layer(1, 512, 256, 32, 2, stride=2, transposed=True),
    Layer(1, 21, 21, 64, 4, stride=2, transposed=True),
    Layer(1, 64, 64, 64, 4, stride=2, transposed=True),
    Layer(1, 21, 21, 32, 16, stride=8, transposed=True),
    Layer(1, 21, 21, 16, 64, stride=32, transposed=True),
)

LARGE, HALF = (8, 64, 256, 256), (8, 64, 128, 128)  # 128 MiB of float32, more than the caches hold, and a quarter
SCORES, BINARY = (8, 21, 256, 256), (8, 2, 256, 256)
OF_CLASSES = (
    *("softmax", "softmax_input", "log_softmax", "log_softmax_input", "nll_loss", "nll_loss_input"),
    *("cross_entropy", "cross_entropy_input", "dice_loss", "dice_loss_input"),
)
MAX_POOLING, AVERAGING = ("max_pool2d", "max_pool2d_input"), ("avg_pool2d", "avg_pool2d_input")
UNPOOLING = ("max_unpool2d", "max_unpool2d_input", "unpool2d", "unpool2d_input")
RESAMPLING = ("interpolate", "interpolate_input")
OVERLAPPING = {"kernel_size": 3, "stride": 2, "padding": 1}
FULLY_CONNECTED = ("linear", "linear_input", "linear_weight", "linear_bias")
WINDOWED = {*CONVOLUTION, *TRANSPOSED, *MAX_POOLING, *AVERAGING, *UNPOOLING, *RESAMPLING}
APART = {*WINDOWED, *OF_CLASSES, *FULLY_CONNECTED}
OTHERS = tuple(name for name in OPERATORS if name not in APART)
MAPS = (
    Maps(LARGE, OTHERS),
    Maps((1, 1, 65536, 512), FULLY_CONNECTED),
    Maps(SCORES, OF_CLASSES),
    Maps(BINARY, OF_CLASSES),
    Maps(LARGE, (*MAX_POOLING, *AVERAGING), {"kernel_size": 2}),
    Maps(LARGE, MAX_POOLING[:1], {"kernel_size": 2, "return_indices": True}),
    Maps(LARGE, (*MAX_POOLING, *AVERAGING), OVERLAPPING),
    Maps(HALF, UNPOOLING, {"kernel_size": 2}),
    *(Maps(HALF, RESAMPLING, {"scale_factor": 2, "mode": mode}) for mode in ("nearest", "bilinear", "bicubic")),
    *(Maps(LARGE, RESAMPLING, {"scale_factor": 0.5, "mode": mode}) for mode in ("nearest", "bilinear", "bicubic")),
)
NETWORKS = (Network(16, 4, 4, 256), Network(32, 4, 1, 256), Network(64, 4, 1, 572, padded=False))

# One channel and one filter: what image libraries do
FILTERS = (Layer(1, 1, 1, 512, 3), Layer(1, 1, 1, 512, 5), Layer(1, 1, 1, 1024, 9))

# FCN-8s of 224 x 224 pixels: each kind of layer of VGG-16, fc6, fc7, the scores and their enlargement
FCN8S = (
    *(Layer(1, c, k, size, 3) for c, k, size in ((3, 64, 224), (64, 64, 224), (64, 128, 112), (128, 128, 112))),
    *(Layer(1, c, k, size, 3) for c, k, size in ((128, 256, 56), (256, 256, 56), (256, 512, 28), (512, 512, 28))),
    Layer(1, 512, 512, 14, 3),
    Layer(1, 512, 4096, 7, 7),
    *(Layer(1, c, k, size, 1) for c, k, size in ((4096, 4096, 7), (4096, 21, 7), (512, 21, 14), (256, 21, 28))),
    *(Layer(1, 21, 21, size, 4, stride=2, transposed=True) for size in (7, 14)),
    Layer(1, 21, 21, 28, 16, stride=8, transposed=True),
)

# Atrous convolutions, as in DeepLab
DILATED = tuple(Layer(1, c, c, size, 3, dilation=d) for c, size in ((64, 128), (256, 64)) for d in (4, 8))


def _depthwise(n: int) -> tuple[Layer, ...]:
    """The depthwise convolutions of MobileNet, each kind once, and a larger kernel, in batches of n."""
    kinds = ((32, 112, 3, 1), (64, 112, 3, 2), (128, 56, 3, 1), (256, 28, 3, 1), (512, 14, 3, 1), (1024, 7, 3, 1))
    return tuple(
        Layer(n, c, c, size, kernel, stride, groups=c) for c, size, kernel, stride in (*kinds, (128, 56, 5, 1))
    )


SEGNET_MAPS = ((64, 360, 480), (256, 90, 120))
# SegNet of 360 x 480 pixels: its convolutions, then pooling that remembers and unpooling
SEGNET: tuple[Layer | Maps, ...] = (
    *(Layer(1, c, k, (360, 480), 3) for c, k in ((3, 64), (64, 64))),
    *(Layer(1, c, k, (180, 240), 3) for c, k in ((64, 128), (128, 128))),
    *(Layer(1, c, k, (90, 120), 3) for c, k in ((128, 256), (256, 256))),
    Layer(1, 512, 512, (45, 60), 3),
    *(Maps((1, c, h, w), MAX_POOLING[:1], {"kernel_size": 2, "return_indices": True}) for c, h, w in SEGNET_MAPS),
    *(Maps((1, c, h // 2, w // 2), UNPOOLING[:1], {"kernel_size": 2}) for c, h, w in SEGNET_MAPS),
)


def _deepbench(n: int) -> tuple[Layer, ...]:
    """The convolutions on images in Baidu's DeepBench (code/kernels/conv_problems.h), each once, in batches of n."""
    problems = (  # height, width, c, k, kernel, stride
        *((48, 480, 1, 16, 3, 1), (24, 240, 16, 32, 3, 1), (12, 120, 32, 64, 3, 1), (6, 60, 64, 128, 3, 1)),
        *((108, 108, 3, 64, 3, 2), (54, 54, 64, 64, 3, 1), (27, 27, 128, 128, 3, 1), (14, 14, 128, 256, 3, 1)),
        *((7, 7, 256, 512, 3, 1), (224, 224, 3, 64, 3, 1), (112, 112, 64, 128, 3, 1), (56, 56, 128, 256, 3, 1)),
        *((28, 28, 256, 512, 3, 1), (14, 14, 512, 512, 3, 1), (7, 7, 512, 512, 3, 1), (224, 224, 3, 64, 7, 2)),
        *((28, 28, 192, 32, 5, 1), (28, 28, 192, 64, 1, 1), (14, 14, 512, 48, 5, 1), (14, 14, 512, 192, 1, 1)),
        *((7, 7, 832, 256, 1, 1), (7, 7, 832, 128, 5, 1), (56, 56, 64, 64, 3, 1), (56, 56, 64, 256, 1, 2)),
        *((28, 28, 128, 128, 3, 1), (28, 28, 128, 512, 1, 2), (14, 14, 256, 256, 1, 1), (14, 14, 256, 256, 3, 1)),
        *((14, 14, 256, 1024, 1, 2), (7, 7, 512, 512, 1, 1), (112, 112, 64, 64, 1, 1), (56, 56, 64, 256, 1, 1)),
        *((56, 56, 256, 64, 1, 1), (56, 56, 256, 128, 1, 2), (28, 28, 128, 512, 1, 1), (28, 28, 512, 128, 1, 1)),
        *((28, 28, 512, 256, 1, 2), (14, 14, 256, 1024, 1, 1), (28, 28, 512, 1024, 1, 2), (14, 14, 1024, 256, 1, 1)),
        *((14, 14, 1024, 512, 1, 2), (7, 7, 512, 2048, 1, 1), (14, 14, 1024, 2048, 1, 2), (7, 7, 2048, 512, 1, 1)),
    )
    layers = (Layer(n, c, k, (h, w), kernel, stride) for h, w, c, k, kernel, stride in problems)
    return (*layers, Layer(n, 2048, 512, 7, 1, 2, padding=3))


INFERENCE, TRAINING = _deepbench(1), _deepbench(8)


@dataclass(frozen=True)
class Group:
    """Cases that stand in a table of their own, under some of their operators."""

    name: str
    title: str
    cases: tuple[Layer | Maps | Network, ...]
    operators: tuple[str, ...] = tuple(OPERATORS)

    def small(self) -> Group:
        """A few of them, in next to no time."""
        return replace(self, cases=tuple(dict.fromkeys(case.small() for case in self.cases[:2])))


POOLED = {*MAX_POOLING, *AVERAGING, *UNPOOLING, *RESAMPLING}
RESIZING = tuple(case for case in MAPS if POOLED.intersection(case.operators))
GROUPS = (
    Group("networks", "Whole networks: U-Net", NETWORKS, ("forward", "training step")),
    Group("unet", "Convolutions of U-Net and others, with their gradients", LAYERS),
    Group("transposed", "Transposed convolutions, with their gradients", UPSAMPLING),
    Group("fcn", "Layers of FCN-8s", FCN8S, ("conv2d", "conv_transpose2d")),
    Group("segnet", "Layers of SegNet", SEGNET, ("conv2d", "max_pool2d", "max_unpool2d")),
    Group("deepbench", "DeepBench's convolutions on images: inference", INFERENCE, ("conv2d",)),
    Group("deepbench-training", "DeepBench's convolutions on images: gradients", TRAINING, CONVOLUTION[1:]),
    Group("dilated", "Dilated convolutions, with their gradients", DILATED),
    Group("depthwise", "Depthwise convolutions: inference", _depthwise(1), CONVOLUTION[:1]),
    Group("depthwise-training", "Depthwise convolutions: gradients", _depthwise(8), CONVOLUTION[1:]),
    Group("filters", "Filters of one channel", FILTERS, ("conv2d",)),
    Group("resizing", "Pooling, unpooling and interpolation", RESIZING),
    Group("maps", "Other operators bound by memory", tuple(case for case in MAPS if case not in RESIZING)),
)
