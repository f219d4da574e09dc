"""Which pixels of an image each map of a network reads, followed through its calls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..kernels.window import Window
from ..kernels.window_arguments import WindowArguments
from .exchange.trace import Call, Run, Value
from .exchange.windows import pooling

NUMBERWISE = ("add", "leaky_relu", "mul", "neg", "relu", "sigmoid", "tanh")
PIXELWISE = (*NUMBERWISE, "batch_norm", "concatenate", "log_softmax", "softmax")
REACH = {"nearest": (-1, 0), "bilinear": (-1, 1), "bicubic": (-2, 2)}  # pixels read, from where a pixel falls


class Unbounded(ValueError):
    """A score may depend on the whole image, or on where in it a pixel lies."""


@dataclass(frozen=True)
class View:
    """Along one axis, pixel i of a map reads the image's pixels from i step + first to i step + last, at most."""

    step: Fraction
    first: Fraction
    last: Fraction

    def through(self, step: Fraction, first: Fraction, last: Fraction) -> View:
        """The view of a map whose pixel i reads pixels from i step + first to i step + last of this one."""
        return View(self.step * step, self.first + self.step * first, self.last + self.step * last)


Views = tuple[View, View]


def seen(run: Run) -> list[Views]:
    """The views of all maps of a run, the result's last.

    Raises Unbounded where something is called that is not known to look at a window alone.
    """
    start = View(Fraction(1), Fraction(0), Fraction(0))
    views: dict[str, Views] = {run.input.name: (start, start)}
    for call in run.calls:
        views.update(dict.fromkeys([each.name for each in call.results], _through(call, views)))
    return [*views.values(), views[run.outputs[0].name]]


def _through(call: Call, views: dict[str, Views]) -> Views:
    """The views of what a call gives."""
    values = [each for value in call.arguments.values() for each in (value if isinstance(value, tuple) else (value,))]
    given = [each for each in values if isinstance(each, (Value, np.ndarray))]
    maps = [views[each.name] for each in given if isinstance(each, Value) and each.name in views]
    others = [each for each in given if not isinstance(each, Value) or each.name not in views]
    if call.name in NUMBERWISE and any(math.prod(each.shape[-2:]) > 1 for each in others):
        raise Unbounded(f"{call.name} is given numbers that differ from place to place")
    before = _union([pair[0] for pair in maps]), _union([pair[1] for pair in maps])
    rows, columns = (before[axis].through(*_reads(call, axis)) for axis in (0, 1))
    return rows, columns


def _union(views: list[View]) -> View:
    if len({view.step for view in views}) != 1:
        raise Unbounded("maps of different scales come together, or none")
    return View(views[0].step, min(view.first for view in views), max(view.last for view in views))


def _reads(call: Call, axis: int) -> tuple[Fraction, Fraction, Fraction]:
    """(step, first, last): pixel i of the result reads the pixels from i step + first to i step + last of its input."""
    if call.name in PIXELWISE:
        return Fraction(1), Fraction(0), Fraction(0)
    if call.name == "crop":
        start = Fraction(call.arguments["start"][axis])
        return Fraction(1), start, start
    if call.name == "interpolate" and not call.arguments.get("align_corners"):
        mode = call.arguments.get("mode", "nearest")
        step = Fraction(call.arguments["x"].planes[0][axis], call.results[0].planes[0][axis])
        middle = Fraction(0) if mode == "nearest" else (step - 1) / 2
        return step, middle + REACH[mode][0], middle + REACH[mode][1]
    window = _window(call)
    stride, before, reach = window.stride[axis], window.padding[axis][0], window.extent[axis] - 1
    if call.name in ("conv_transpose2d", "max_unpool2d", "unpool2d"):
        return Fraction(1, stride), Fraction(before - reach, stride), Fraction(before, stride)
    return Fraction(stride), Fraction(-before), Fraction(reach - before)


def _window(call: Call) -> Window:
    stride, padding, dilation = (call.arguments.get(key) for key in ("stride", "padding", "dilation"))
    padding, dilation = padding or 0, dilation or 1
    if call.name in ("conv2d", "conv_transpose2d"):
        x, weight = call.arguments["x"], call.arguments["weight"]
        check = WindowArguments(call.name, "weight")
        return check.window(weight.shape[-2:], stride or 1, padding, dilation, x.planes[0])
    if call.name in ("max_pool2d", "avg_pool2d", "max_unpool2d", "unpool2d"):
        return pooling(call.name, call.arguments["kernel_size"], stride, padding, dilation)
    raise Unbounded(f"{call.name} may see everything")
