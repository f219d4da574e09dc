"""Scores for classes with each pixel's class: what the losses of both accept, and their case."""

from typing import Any

from .arguments import Arguments
from .case import Case, Output
from .layout import Array, format_of
from .namespace import host, readable

REDUCTIONS = ("mean", "sum")


class Labelled:
    """Scores (N, K, ...), and labels (N, ...) that are classes or `ignore_index`."""

    def __init__(self, function: str, name: str, scores: Any, labels: Any, ignore_index: Any) -> None:
        """name: that of the scores."""
        self.check = check = Arguments(function)
        self.scores = check.per_class(name, scores)
        n, k, h, w = self.scores.shape
        self.shape = scores.shape
        labels = check.integers("labels", labels, (n, *self.shape[2:]))
        ignored = check.integer("ignore_index", ignore_index, -(2**63), 2**63 - 1)
        outside = labels.view(labels.dtype.str.replace("i", "u")) >= k  # negative ones are large then
        if readable(labels) and outside.any():
            outside &= labels != ignored
            if outside.any():
                first = host(labels[outside])[0]
                check.fail(f"labels must be 0..{k - 1} or ignore_index={ignored}, got {first}", IndexError)
        self.labels = labels.reshape(n, h, w)
        self.parameters: dict[str, Any] = {"ignore_index": ignored}

    def weighted(self, weight: Any, reduction: Any) -> Array | None:
        """The classes' weights, checked; and the reduction becomes a parameter."""
        self.parameters["reduction"] = self.check.choice("reduction", reduction, REDUCTIONS)
        if weight is None:
            return None
        weight = self.check.array("weight", weight, "K", self.scores.dtype)
        self.check.shape("weight", weight, self.scores.shape[1:2])
        self.check.finite("weight", weight)
        return weight

    def case(self, *more: Any, gradient: bool, flops: int, algorithm: str) -> Case:
        """The call in normal form."""
        result = Output(self.scores.shape, self.scores.dtype, format_of(self.scores), self.shape)
        return Case(
            arguments=(self.scores, self.labels, *more),
            outputs=(result if gradient else Output((), self.scores.dtype),),
            parameters=self.parameters,
            maps=(0,),
            flops=flops * self.scores.size,
            algorithm=algorithm,
        )
