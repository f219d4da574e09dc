"""What can be set of a training: names, defaults and limits, the same for `nn.fit`, the command line and TOML files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

from .errors import InputError

FCN: dict[str, Any] = {"width": 16, "dropout": 0.5}
NETWORKS: dict[str, dict[str, Any]] = {  # by their classes' names in small letters: what can be set, and the defaults
    "unet": {"width": 16, "depth": 3, "padded": True, "batch_norm": False, "dropout": 0.0},
    "fcn32s": FCN,
    "fcn16s": FCN,
    "fcn8s": FCN,
    "segnet": {"width": 16, "depth": 3, "batch_norm": True},
    "deconvnet": {"width": 16, "depth": 3, "batch_norm": True, "window": 3, "tied": False},
}


@dataclass(frozen=True)
class Rule:
    """What a setting may be. kind: its type, or that of each number of a list; count: how many, 0 for any number."""

    kind: type
    allowed: str
    accepts: Callable[[Any], Any] = lambda value: True
    count: int = 1
    words: tuple[str, ...] = ()  # strings that are allowed as well

    def problem(self, name: str, value: Any) -> str | None:
        """What is wrong with a value, in a sentence, or None."""
        if self.count == 1:
            right = self._is_kind(value) and bool(self.accepts(value))
        else:
            several = isinstance(value, (tuple, list)) and len(value) > 0 and len(value) == (self.count or len(value))
            right = several and all(self._is_kind(each) and self.accepts(each) for each in value)
        return None if right or _word(value) in self.words else f"{name} is {value!r}; it must be {self.allowed}"

    def normal(self, value: Any) -> Any:
        """A value that is right, as Python's own type: int for NumPy's integers, float for integers; tuples of them."""
        if _word(value) in self.words:
            return _word(value)
        return tuple(map(self.kind, value)) if isinstance(value, (tuple, list)) else self.kind(value)

    def _is_kind(self, value: Any) -> bool:
        if isinstance(value, bool) or self.kind is bool:
            return isinstance(value, bool) and self.kind is bool
        numbers: dict[type, type] = {int: Integral, float: Real}
        return isinstance(value, numbers.get(self.kind, self.kind))


def _word(value: Any) -> Any:
    """["balanced"], as the command line gives it, is "balanced"."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


COUNT = Rule(int, "1 or more", lambda value: value >= 1)
NATURAL = Rule(int, "0 or more", lambda value: value >= 0)
POSITIVE = Rule(float, "a positive number", lambda value: 0 < value < math.inf)
AMOUNT = Rule(float, "0 or a positive number", lambda value: 0 <= value < math.inf)
FRACTION = Rule(float, "from 0 to below 1", lambda value: 0 <= value < 1)
DECAY = Rule(float, "above 0 and up to 1", lambda value: 0 < value <= 1)
PATH = Rule(str, "a path", lambda value: "\0" not in value)
DEVICE = Rule(str, "cpu, cuda or cuda:N", re.compile(r"cpu|cuda(:\d+)?", re.ASCII).fullmatch)
SHARE = Rule(float, "between 0 and 1", lambda value: 0 < value < 1)
CLASSES = Rule(int, "2 to 255", lambda value: 2 <= value <= 255)
FLAG = Rule(bool, "true or false")
BETAS = Rule(float, "two numbers from 0 to below 1", lambda value: 0 <= value < 1, count=2)
WEIGHTS = Rule(float, "balanced or 0 or a positive number for each class", AMOUNT.accepts, 0, ("balanced",))


def among(*names: str) -> Rule:
    """One of these names."""
    return Rule(str, f"{', '.join(names[:-1])} or {names[-1]}", lambda value: value in names)


def unknown(name: str, names: Collection[str]) -> str:
    """The sentence for a name that is none of these."""
    close = get_close_matches(name.replace("-", "_"), names, 1)
    return f"there is no setting {name!r}" + (f"; do you mean {close[0]}?" if close else "")


def setting(default: Any, rule: Rule, text: str) -> Any:
    """A field of `Checked`: None as default is allowed whatever the rule says. text: for the command line's help."""
    return field(default=default, metadata={"rule": rule, "help": text})


class Checked:
    """A dataclass of `setting`s, each checked when it is made."""

    def __post_init__(self) -> None:
        """Raise InputError with one sentence for every value that is out of range."""
        problems = []
        for each in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            value, rule = getattr(self, each.name), each.metadata["rule"]
            if value is None and each.default is None:
                continue
            if problem := rule.problem(each.name, value):
                problems.append(problem)
            else:
                object.__setattr__(self, each.name, rule.normal(value))
        if not problems:
            problems = self._together()
        if problems:
            raise InputError(problems)

    def _together(self) -> list[str]:
        """What is wrong with values that are right each for itself."""
        return []


@dataclass(frozen=True)
class Settings(Checked):
    """How to train: what `nn.fit` takes by name, `upconv train` as --options and a TOML file as keys.

    The defaults suit the embedded nuclei.
    """

    steps: int = setting(240, COUNT, "training steps")
    batch: int = setting(4, COUNT, "crops a step")
    crop: int = setting(128, COUNT, "height and width of a crop in pixels; unet: a multiple of 2^depth")
    accumulate: int = setting(1, COUNT, "batches whose gradients are averaged for a step")
    seed: int = setting(0, NATURAL, "the same seed gives the same weights, bit for bit")
    device: str | None = setting(None, DEVICE, "where to compute; default: where the network is, at first cpu")
    precision: str | None = setting(
        None, among("fp32", "tf32"), "of convolutions on a GPU; default: that of kernels.set_precision, at first fp32"
    )

    optimizer: str = setting("adam", among("sgd", "adagrad", "rmsprop", "adam", "adamw"), "the rule of a step")
    lr: float = setting(2e-3, POSITIVE, "peak learning rate")
    momentum: float = setting(0.9, FRACTION, "of sgd and rmsprop")
    nesterov: bool = setting(False, FLAG, "sgd looks ahead")
    betas: tuple[float, float] = setting((0.9, 0.999), BETAS, "of adam and adamw")
    weight_decay: float = setting(0.0, AMOUNT, "how weights are drawn to 0")
    clip_grad_norm: float | None = setting(None, POSITIVE, "gradients longer than this are made as short")

    schedule: str = setting(
        "cosine", among("constant", "cosine", "one_cycle", "polynomial", "step"), "how the learning rate falls"
    )
    warmup: int | None = setting(None, NATURAL, "steps over which the learning rate rises; default: 20 or a tenth")
    power: float = setting(0.9, POSITIVE, "of polynomial")
    step_size: int | None = setting(None, COUNT, "of step: steps from one fall to the next; default: a third")
    gamma: float = setting(0.1, DECAY, "of step: the factor of a fall")

    class_weights: tuple[float, ...] | str | None = setting(
        None, WEIGHTS, "of each class in the loss, or balanced: as rare as they are; default: all equal"
    )
    early_stopping: int = setting(0, NATURAL, "evaluations without a better Dice that end it; 0: none do")
    evaluate_every: int | None = setting(None, COUNT, "steps between evaluations; default: an eighth")
    checkpoint_every: int | None = setting(None, COUNT, "steps between checkpoints; default: at evaluations")
    tensorboard: bool = setting(False, FLAG, "write the curves for TensorBoard as well")

    symmetry: str = setting("square", among("none", "mirror", "square"), "crops mirrored, or turned by 90 degrees too")
    rotate: float = setting(0.0, AMOUNT, "crops turned by up to so many degrees")
    scale: float = setting(0.0, AMOUNT, "crops larger or smaller by up to a factor of 1 + this")
    elastic: float = setting(0.0, AMOUNT, "crops bent: standard deviation of 3 x 3 displacements in pixels, as 10")
    intensity: float = setting(0.0, AMOUNT, "brightness and contrast changed by up to so many standard deviations")
    noise: float = setting(0.0, AMOUNT, "Gaussian noise, in standard deviations of the image")

    def _together(self) -> list[str]:
        if self.optimizer == "sgd" and self.nesterov and not self.momentum:
            return [f"momentum is {self.momentum}; with nesterov it must be above 0"]
        return []


@dataclass(frozen=True)
class Network(Checked):
    """The network of `upconv train`: its name, and arguments of its class; None becomes the default in NETWORKS."""

    network: str = setting("unet", among(*NETWORKS), "what is trained")
    width: int | None = setting(None, COUNT, "channels at full resolution; default: 16")
    depth: int | None = setting(None, COUNT, "not fcn: how often the resolution is halved; default: 3")
    padded: bool | None = setting(None, FLAG, "unet: scores for all pixels; not, as in the paper: those of the middle")
    batch_norm: bool | None = setting(None, FLAG, "not fcn: normalise after convolutions; default: all but unet")
    dropout: float | None = setting(None, FRACTION, "unet, fcn: share of the lowest features dropped; default: 0, 0.5")
    window: int | None = setting(None, COUNT, "deconvnet: pixels a side of its fc6; default: 3")
    tied: bool | None = setting(None, FLAG, "deconvnet: the filters of the way up are those of the way down")

    def _together(self) -> list[str]:
        problems, own = [], NETWORKS[self.network]
        for each in fields(self)[1:]:
            if getattr(self, each.name) is None:
                object.__setattr__(self, each.name, own.get(each.name))
            elif each.name not in own:
                problems.append(f"{each.name} is not for {self.network}, which has {', '.join(own)}")
        return problems

    @property
    def arguments(self) -> dict[str, Any]:
        """What its class is given beside channels and classes."""
        return {name: getattr(self, name) for name in NETWORKS[self.network]}


@dataclass(frozen=True)
class Source(Checked):
    """The images of `upconv train`: the embedded nuclei, drawn scenes or a folder, and which part is held out."""

    folder: str | None = setting(None, PATH, "labelled images (default: the embedded nuclei)")
    data: str | None = setting(None, among("nuclei", "scenes"), "what there is without a folder; default: nuclei")
    quadrant: int | None = setting(None, Rule(int, "0, 1, 2 or 3", range(4).__contains__), "nuclei: to test on (3)")
    validation: float | None = setting(None, SHARE, "folder, scenes: the share of images held out (0.2)")
    test: float | None = setting(None, SHARE, "folder, scenes: a further share to choose nothing by; default: none")
    classes: int | None = setting(None, CLASSES, "folder, scenes: how many; default: as the masks say, and 5")

    def _together(self) -> list[str]:
        if self.folder is not None and self.data is not None:
            return [f"data is {self.data}; leave it out to train on a folder"]
        nuclei = self.folder is None and self.data in (None, "nuclei")
        others = ("validation", "test", "classes") if nuclei else ("quadrant",)
        where = "a folder or scenes" if nuclei else "the embedded nuclei"
        return [f"{name} is for training on {where}" for name in others if getattr(self, name) is not None]
