"""What optimisers share: the parameters, one pass over memory for all of them, their state; and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..kernels.namespace import aligned, host, namespace, on_device
from ..kernels.update import update
from .device import assign, kept, moved, together, where
from .tensor import Array, Tensor

ABSENT = {"dampening": 0, "maximize": False, "amsgrad": False, "centered": False}  # PyTorch's options that are not here


class Optimizer:
    """What optimisers share: the parameters, each once, and the learning rate `lr`, which may be changed any time.

    They change parameters in place, from gradients they leave alone, and allocate on the first step only.
    """

    options: tuple[str, ...] = ("lr", "weight_decay")  # arguments, and attributes of the same names
    arrays: tuple[str, ...] = ()  # what is kept of each parameter, under PyTorch's names
    initial = 0.0  # and what it holds at first

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        """Check and keep the arguments; ValueError or TypeError says which one is wrong."""
        given, name = list(params), type(self).__name__
        for parameter in given:
            if not isinstance(parameter, Tensor):
                raise TypeError(f"{name}: params holds a {type(parameter).__name__}; tensors are needed")
        self.params = list(dict.fromkeys(given))
        if not self.params:
            raise ValueError(f"{name}: params is empty; model.parameters() gives a fresh iterator each time")
        self.lr = within(f"{name}: lr", lr, 0, math.inf)
        self.weight_decay = within(f"{name}: weight_decay", weight_decay, 0, math.inf)
        self._state: dict[Tensor, list[Array]] = {}
        self._steps: dict[Tensor, int] = {}

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        raise NotImplementedError(f"{type(self).__name__} defines no step")

    def zero_grad(self) -> None:
        """Forget every gradient (set it to None)."""
        for parameter in self.params:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's form: {"state": {0: {"step": 5, name: array, ...}, ...}, "param_groups": [{"lr": 0.1, ...}]}.

        The keys of "state" count the parameters as they were given; those not stepped yet are missing. Arrays are
        contiguous NumPy copies, which further steps leave alone.
        """
        state = {}
        for number, parameter in enumerate(self.params):
            if parameter in self._state:
                copies = [np.array(host(array), order="C") for array in self._state[parameter]]
                state[number] = {"step": self._steps[parameter], **dict(zip(self.arrays, copies, strict=True))}
        options = {name: getattr(self, name) for name in self.options}
        return {"state": state, "param_groups": [{**options, "params": [*range(len(self.params))]}]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, here or in PyTorch (tensors on the CPU), options included.

        Nothing is changed unless everything fits: one ValueError names every state of the wrong shape or kind, options
        that mean another rule, and another number of parameters. Arrays that PyTorch does without are zeros.
        """
        name, groups = type(self).__name__, state["param_groups"]
        counts = [len(group["params"]) for group in groups]
        if counts != [len(self.params)]:
            raise ValueError(f"{name}: the state is of {counts} parameters; one group of {len(self.params)} is needed")
        given = {number: dict(state["state"][number]) for number in state["state"]}
        faults = [f"{key} is {groups[0][key]!r}" for key in ABSENT if groups[0].get(key, ABSENT[key]) != ABSENT[key]]
        faults += [f"there is no parameter {number}" for number in given if number not in range(len(self.params))]
        for number, key, array in self._given(given):
            shape = self.params[number].shape
            if array.shape != shape or array.dtype.kind != "f":
                faults.append(f"{key} of parameter {number} is {array.dtype} {array.shape}, the parameter {shape}")
        if faults:
            raise ValueError(f"{name}: the state does not fit: {'; '.join(faults)}")
        options = {key: groups[0].get(key, getattr(self, key)) for key in self.options}
        checked = type(self)(self.params, **options)
        for key in self.options:
            setattr(self, key, getattr(checked, key))
        self._steps = {self.params[number]: int(values.get("step", 1)) for number, values in given.items()}
        self._state = {parameter: self._fresh(parameter.data) for parameter in self._steps}
        for number, key, array in self._given(given):
            assign(self._state[self.params[number]][self.arrays.index(key)], array)

    def _given(self, state: Mapping[int, Mapping[str, Any]]) -> Iterator[tuple[int, str, Array]]:
        """(parameter, name, array) of every array in the state of a parameter that there is."""
        for number, values in state.items():
            for key in self.arrays:
                if number in range(len(self.params)) and values.get(key) is not None:
                    yield number, key, kept(values[key])

    def _fresh(self, w: Array) -> list[Array]:
        return [namespace(w).full_like(w, self.initial) for _ in self.arrays]

    def _apply(self, rule: str, constants: Callable[[int], tuple[float, ...]]) -> None:
        """Update every parameter that has a gradient, and its arrays. constants: of the rule, at a parameter's step."""
        rows, gapped, steps = [], [], []
        for parameter in self.params:
            if parameter.grad is None:
                continue
            w = parameter.data
            self._check(w, parameter.grad)
            state = self._state.get(parameter) or self._fresh(w)
            if (state[0].dtype, where(state[0])) != (w.dtype, where(w)):  # the model was converted or moved since then
                state = [moved(array, where(w)).astype(w.dtype) for array in state]
            self._state[parameter] = state
            if state[0].shape != w.shape:
                name = type(self).__name__
                raise ValueError(f"{name}: a parameter of shape {state[0].shape} has become one of {w.shape}")
            if w.strides != state[0].strides or not aligned(w):  # it has gaps
                gapped.append((w, w := w.copy("K")))
            grad = parameter.grad
            if grad.strides != w.strides or grad.dtype != w.dtype or not aligned(grad):
                grad = namespace(w).empty_like(w)
                grad[...] = parameter.grad
            rows.append((w, grad, *state))
            steps.append(parameter)

        def step(parameter: Tensor) -> tuple[float, ...]:
            self._steps[parameter] = self._steps.get(parameter, 0) + 1
            return constants(self._steps[parameter])

        update(rule, rows, [partial(step, parameter) for parameter in steps])
        for given, w in gapped:
            given[...] = w

    def _check(self, w: Array, grad: Array) -> None:
        """What the kernels take for granted."""
        name = type(self).__name__
        if w.dtype not in (np.float32, np.float64):
            raise TypeError(f"{name}: a parameter has dtype {w.dtype.str}; native float32 or float64 is needed")
        if not on_device(w) and not w.flags.writeable:
            raise ValueError(f"{name}: a parameter of shape {w.shape} is read-only; give a copy")
        if grad.shape != w.shape:
            raise ValueError(f"{name}: a parameter of shape {w.shape} has a gradient of shape {grad.shape}")
        together(name, parameter=w, gradient=grad)


def clip_grad_norm_(params: Iterable[Tensor], max_norm: float) -> float | Array:
    """g *= min(1, max_norm / (n + 1e-6)), n = sqrt(sum of all g^2): every gradient, in place. Returns n.

    As `torch.nn.utils.clip_grad_norm_`; n is summed in float64. Gradients that are no numbers stay as they are: n says
    so. On a GPU n is an array of one number there, since nothing is copied that nobody asks for. Raises ValueError
    unless max_norm is positive. Pascanu et al. 2013, "On the difficulty of training recurrent neural networks",
    algorithm 1.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_grad_norm_: max_norm is {max_norm!r}; a positive number is needed")
    grads = [parameter.grad for parameter in params if parameter.grad is not None]
    if grads and on_device(grads[0]):
        return _clipped_there(grads, max_norm)
    norm = math.sqrt(sum(float(np.square(grad, dtype=np.float64).sum()) for grad in grads))
    if math.isfinite(norm) and norm + 1e-6 > max_norm:
        for grad in grads:
            grad *= max_norm / (norm + 1e-6)
    return norm


def _clipped_there(grads: Sequence[Array], max_norm: float) -> Array:
    """`clip_grad_norm_` on a GPU: nothing is read, so that the host need not wait."""
    xp = namespace(grads[0])
    norm = xp.sqrt(sum(xp.square(grad, dtype=np.float64).sum() for grad in grads))
    factor = xp.where(xp.isfinite(norm) & (norm + 1e-6 > max_norm), max_norm / (norm + 1e-6), 1.0)
    for grad in grads:
        grad *= factor.astype(grad.dtype)
    return norm


def within(name: str, value: float, low: float, high: float) -> float:
    """`value` as a float; ValueError unless it is in [low, high)."""
    if not low <= value < high:
        raise ValueError(f"{name} is {value!r}; it must be in [{low}, {high})")
    return float(value)
