"""The differentiable form of an operator, made from its declaration.

An operator of `upconv.kernels` names the operators of its gradients, and these say by the names of their parameters
what they need: `grad`, the gradient of the result; `y`, the result; an argument of the operator, by its name; the shape
of one, by `weight_shape` or, of the first, `input_shape`; by other names the further results, in their order.
A loss is a number, and the gradients of losses know no `grad`: they are multiplied by it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any

import numpy as np

from .. import kernels
from ..kernels.namespace import is_array
from ..kernels.op import Op
from ..kernels.sharing import overlaps
from .gradients import is_one, may_write
from .modes import told
from .parameter import Parameter
from .tensor import Array, Tensor, record, recording

Input = Tensor | np.ndarray
GRADIENT = ("grad", "out", "algorithm")  # what a gradient's operator is given when it is called


class Gradient:
    """An operator of gradients: of which arguments `of`, what it asks for, and whether it may write into `grad`."""

    def __init__(self, of: str | tuple[str, ...], function: Callable[..., Any], forward: inspect.Signature) -> None:
        """Read the signature. forward: that of the operator whose gradient this is."""
        self.of = (of,) if isinstance(of, str) else of
        self.function = function
        self.asks = list(inspect.signature(function).parameters)
        known = {*forward.parameters, "y", *GRADIENT, *(f"{name}_shape" for name in ("input", *forward.parameters))}
        self.further = [name for name in self.asks if name not in known]
        self.takes_grad = "grad" in self.asks
        sized = any(name == "weight" or name.endswith("_shape") for name in self.asks)
        self.in_place = self.takes_grad and "out" in self.asks and not sized  # else the result has another shape

    def given(self, values: dict[str, Any], results: Sequence[Array]) -> dict[str, Any]:
        """What it asks for, out of the arguments and the results of a call; nothing else is kept alive."""
        found: dict[str, Any] = {}
        for name in self.asks:
            if name in self.further:
                found[name] = results[1 + self.further.index(name)]
            elif name == "y":
                found[name] = results[0]
            elif name == "algorithm":
                found[name] = "reference" if values.get(name) == "reference" else "auto"
            elif name in values and name not in GRADIENT:
                found[name] = values[name]
            elif name.endswith("_shape"):
                of = self.of[0] if name == "input_shape" else name.removesuffix("_shape")
                found[name] = values[of].shape
        return found


def differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """The operator `function` on tensors: same arguments, errors and text; results are tensors, gradients recorded."""
    op: Op = function.op  # type: ignore[attr-defined]  # every operator has one
    signature = inspect.signature(function)
    parameters = signature.parameters
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    gradients = [Gradient(of, gradient, signature) for of, gradient in op.gradients.items()]
    sources = [name for gradient in gradients for name in gradient.of]
    summed = "bias" in parameters and "bias" not in sources
    sources += ["bias"] * summed
    learned = "weight" in sources
    several = any(gradient.further for gradient in gradients)
    choosable = several and "return_indices" in parameters

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{op.name}: {error}") from None
        tensors = {name: value for name, value in bound.items() if isinstance(value, Tensor)}
        values = {**bound, **{name: tensor.data for name, tensor in tensors.items()}}
        if learned:
            values[sources[0]] = _channels_last(values[sources[0]], getattr(values.get("weight"), "ndim", 0))
        if not recording(*tensors.values()):
            if learned and isinstance(tensors.get("weight"), Parameter):
                values["weight"] = tensors["weight"].packed()  # type: ignore[attr-defined]
            return told(op.name, bound, _tensors(function(**values)))
        _check(op.name, sources, tensors, values)
        values = {**defaults, **values}
        hidden = choosable and not values["return_indices"]
        results = function(**{**values, "return_indices": True} if hidden else values)
        results = results if isinstance(results, tuple) else (results,)
        inputs = [name for name in sources if name in tensors and tensors[name].requires_grad]
        plan = [(each, each.given(values, results)) for each in gradients if set(each.of) & set(inputs)]
        activation, y = values.get("activation"), results[0]
        y = y if activation else None
        sums = summed and "bias" in inputs

        def backward(grad: Array) -> list[Array | None]:
            found: dict[str, Any] = {}
            if activation or sums:
                grad, found["bias"] = _undo(y, grad, sums)
            for gradient, arguments in plan:
                parts = _gradient(gradient, arguments, grad, alone=len(plan) == 1)
                found.update(zip(gradient.of, parts, strict=True))
            return [found[name] for name in inputs]

        tensor = record(op.name, results[0], [tensors[name] for name in inputs], backward)
        if len(results) == 1 or hidden:
            return tensor
        return tensor, *(Tensor(each) for each in results[1:])

    return _describe(call, function, sources, several)


def _channels_last(x: Any, axes: int) -> Any:
    """`x`, if it is a map, in the memory format of the kernels, once for the gradients too. axes: of its weight."""
    if not is_array(x) or axes == 2:  # rows of features
        return x
    if x.ndim == 3 and axes == 4:
        return kernels.channels_last(x[np.newaxis])[0]
    return kernels.channels_last(x) if x.ndim == 4 else x


def _tensors(results: Any) -> Any:
    return tuple(map(Tensor, results)) if isinstance(results, tuple) else Tensor(results)


def _check(name: str, sources: list[str], tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Refuse what would give wrong gradients without a word."""
    if values.get("activation") not in (None, "relu"):
        raise ValueError(f"{name}: the gradient of activation={values['activation']!r} is not known here")
    for argument, tensor in tensors.items():
        if tensor.requires_grad and argument not in sources:
            raise ValueError(f"{name}: {argument} has no gradient here; give {argument}.detach()")
    out = values.get("out")
    if is_array(out) and any(overlaps(out, values[argument]) for argument in tensors):
        raise ValueError(f"{name}: out must share no memory with an argument that the gradient may need")


def _gradient(gradient: Gradient, arguments: dict[str, Any], grad: Array, *, alone: bool) -> tuple[Array, ...]:
    if not gradient.takes_grad:
        part = gradient.function(**arguments)
        if not is_one(grad):
            part *= grad
        return (part,)
    if gradient.in_place and alone and may_write(grad):
        arguments = {**arguments, "out": grad}
    parts = gradient.function(**arguments, grad=grad)
    return parts if isinstance(parts, tuple) else (parts,)


def _undo(y: Array | None, grad: Array, sums: bool) -> tuple[Array, Array | None]:
    """The gradients of x and b in y = relu(x + b) or, without y, in x + b: the gradient of b only where it `sums`."""
    out = grad if may_write(grad) else None
    if y is None or not sums:
        grad = grad if y is None else kernels.relu_input(y, grad, out=out)
        return grad, kernels.channel_sum(grad if grad.ndim == 4 else grad[np.newaxis]) if sums else None
    if grad.ndim == 4:
        return kernels.bias_relu_input(y, grad, out=out)
    grad, total = kernels.bias_relu_input(y[np.newaxis], grad[np.newaxis])
    return grad[0], total


def _describe(
    call: Callable[..., Any], function: Callable[..., Any], sources: list[str], several: bool
) -> Callable[..., Any]:
    """Give `call` the name, the signature and the text of `function`, and say what has become of arrays."""
    update_wrapper(call, function)
    del call.__wrapped__, call.op  # type: ignore[attr-defined]  # it is no operator: explain takes kernels
    signature = inspect.signature(function)
    changed = [
        p.replace(annotation=Input | None if p.default is None else Input) if p.name in sources else p
        for p in signature.parameters.values()
    ]
    returned = Tensor | tuple[Tensor, ...] if several else Tensor
    call.__signature__ = signature.replace(parameters=changed, return_annotation=returned)  # type: ignore[attr-defined]
    call.__module__ = f"{__package__}.functional"
    equation, _, rest = inspect.getdoc(function).partition("\n")  # type: ignore[union-attr]  # operators have text
    *others, last = sources
    names = f"{', '.join(others)} and {last}" if others else last
    text = f"`upconv.kernels.{function.__name__}` on arrays or `Tensor`s, giving `Tensor`s; differentiable in {names}."
    text += " Where a gradient is recorded, out must be no argument's memory." * ("out" in signature.parameters)
    call.__doc__ = f"{equation}\n\n{text}\n{rest}"
    return call
