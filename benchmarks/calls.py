"""Valid calls of any operator, drawn from its signature: each parameter's name has one rule, see rules.py.

The tests, the fuzzer and the benchmarks call operators that they know nothing else about. A new operator needs nothing
here as long as its parameters bear the names that other operators use for the same things.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from upconv import kernels
from upconv.kernels.op import OPERATORS

from .rules import Rules

INPUTS = ("x", "logits", "log_probabilities")  # the first argument, by whose shape the others are drawn
ALWAYS = {"algorithm", "out"}  # left at their defaults
DEPENDENT = {"size", "scale_factor"}  # of which one is needed, although both have a default


def function(name: str) -> Callable[..., Any]:
    """The public function of an operator."""
    return getattr(kernels, name)


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """An operator's parameters by name."""
    return dict(inspect.signature(function(name)).parameters)


def forward_of(gradient: str) -> str | None:
    """The first operator that this is a gradient of; None for an operator of its own."""
    gradients = ((op.name, each.op.name) for op in OPERATORS.values() for each in op.gradients.values())  # type: ignore[attr-defined]
    return next((name for name, each in gradients if each == gradient), None)


def draw(
    name: str,
    rng: np.random.Generator,
    *,
    dtype: Any = np.float32,
    shape: Sequence[int] | None = None,
    real: bool = True,
    plain: bool = False,
    **given: Any,
) -> dict[str, Any]:
    """A valid call of the operator `name`: its arguments by name, C-contiguous where they are arrays.

    dtype: of the maps. shape: of the operator's input, x; of a gradient's operator's input. None: drawn too. real:
    normally distributed numbers instead of integers from -4 to 4. plain: every option has its default. given: values
    that are not to be drawn, of parameters of the operator or of the one whose gradient it is; others are ignored.
    """
    return Call(name, rng, dtype, shape, real, plain, given).arguments()


class Call(Rules):
    """A call in the making, and the call of the operator whose gradient it is."""

    def __init__(
        self,
        name: str,
        rng: np.random.Generator,
        dtype: Any,
        shape: Sequence[int] | None,
        real: bool,
        plain: bool,
        given: dict[str, Any],
    ) -> None:
        for each in INPUTS:
            shape = given[each].shape if each in given else shape
        super().__init__(parameters(name), rng, dtype, shape, real, plain)
        self._name, self._values = name, dict(given)
        self._forward: Call | None = None
        forward = forward_of(name)
        if forward is not None:
            same = {"activation": None} | given  # no gradient knows one
            self._forward = Call(forward, rng, dtype, shape, real, plain, same)

    def arguments(self) -> dict[str, Any]:
        """A value for each parameter."""
        return {name: self[name] for name in self._names}

    def _drawn(self, name: str) -> Any:
        if self._forward is not None and name not in ALWAYS:
            return self._of_forward(name, self._forward)
        default = self._names[name].default
        optional = default is not inspect.Parameter.empty and name not in DEPENDENT
        if optional and (self._plain or name in ALWAYS or self._rng.random() < 0.4):
            return default
        rule = None if name.startswith("_") else getattr(self, name, None)
        if rule is None:
            raise LookupError(
                f"benchmarks/rules.py cannot draw {name!r}, a parameter of {self._name}: add a method {name!r} to its"
                " class Rules that returns a valid value, or use the name that other operators have for the same thing"
            )
        return rule()

    def _of_forward(self, name: str, forward: Call) -> Any:
        """An argument of the operator whose gradient this is, its shape, the gradient of its result, or a result:
        y, or further ones in their order.
        """
        if name == "grad":
            case = OPERATORS[forward._name].rule(**forward.arguments())
            return self._numbers(case.outputs[0].given)
        if name in forward._names:
            return forward[name]
        if name.endswith("_shape"):
            return forward[next(iter(forward._names)) if name == "input_shape" else name.removesuffix("_shape")].shape
        known = {*forward._names, *ALWAYS, "grad"}
        results = ["y", *(n for n in self._names if n not in known and n != "y" and not n.endswith("_shape"))]
        return forward._results[results.index(name)]

    @cached_property
    def _results(self) -> tuple[Any, ...]:
        """Every result of the call."""
        arguments = self.arguments()
        if "return_indices" in arguments:
            arguments["return_indices"] = True
        result = function(self._name)(**arguments)
        return result if isinstance(result, tuple) else (result,)
