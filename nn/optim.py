"""Optimisers: they change parameters in place, from gradients they leave alone, and allocate on the first step only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from ..kernels.cpu.update import update
from .tensor import Array, Tensor


class Optimizer:
    """What optimisers share: the parameters, each once, and the learning rate `lr`, which may be changed any time."""

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        """Check and keep the arguments; ValueError or TypeError says which one is wrong."""
        given, name = list(params), type(self).__name__
        for parameter in given:
            if not isinstance(parameter, Tensor):
                raise TypeError(f"{name}: params holds a {type(parameter).__name__}; tensors are needed")
        self.params = list(dict.fromkeys(given))
        if not self.params:
            raise ValueError(f"{name}: params is empty; model.parameters() gives a fresh iterator each time")
        self.lr = _within(f"{name}: lr", lr, 0, math.inf)
        self.weight_decay = _within(f"{name}: weight_decay", weight_decay, 0, math.inf)
        self._state: dict[Tensor, list[Array]] = {}

    def zero_grad(self) -> None:
        """Forget every gradient (set it to None)."""
        for parameter in self.params:
            parameter.grad = None

    def _apply(self, rule: str, states: int, constants: Callable[[Tensor], tuple[float, ...]]) -> None:
        """Update every parameter that has a gradient, and the `states` arrays that are kept for it, zeros at first."""
        rows, moved = [], []
        for parameter in self.params:
            if parameter.grad is None:
                continue
            w = parameter.data
            self._check(w, parameter.grad)
            state = self._state.get(parameter) or [np.zeros_like(w) for _ in range(states)]
            if state[0].dtype != w.dtype:  # the model was converted since the last step
                state = [array.astype(w.dtype) for array in state]
            self._state[parameter] = state
            if state[0].shape != w.shape:
                name = type(self).__name__
                raise ValueError(f"{name}: a parameter of shape {state[0].shape} has become one of {w.shape}")
            if w.strides != state[0].strides or not w.flags.aligned:  # it has gaps
                moved.append((w, w := w.copy("K")))
            grad = parameter.grad
            if grad.strides != w.strides or grad.dtype != w.dtype or not grad.flags.aligned:
                grad = np.empty_like(w)
                grad[...] = parameter.grad
            rows.append((w, grad, *state))
        update(rule, rows, [constants(parameter) for parameter in self.params if parameter.grad is not None])
        for given, w in moved:
            given[...] = w

    def _check(self, w: Array, grad: Array) -> None:
        """What the kernels take for granted."""
        name = type(self).__name__
        if w.dtype not in (np.float32, np.float64):
            raise TypeError(f"{name}: a parameter has dtype {w.dtype.str}; native float32 or float64 is needed")
        if not w.flags.writeable:
            raise ValueError(f"{name}: a parameter of shape {w.shape} is read-only; give a copy")
        if grad.shape != w.shape:
            raise ValueError(f"{name}: a parameter of shape {w.shape} has a gradient of shape {grad.shape}")


class SGD(Optimizer):
    """g = dL/dw + weight_decay w;  v = momentum v + g;  w -= lr v. As `torch.optim.SGD` with dampening 0.

    Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        """lr and weight_decay: 0 or more; momentum: in [0, 1)."""
        super().__init__(params, lr, weight_decay)
        self.momentum = _within("SGD: momentum", momentum, 0, 1)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        constants = self.lr, self.momentum, self.weight_decay
        self._apply("sgd", 1, lambda parameter: constants)


class Adam(Optimizer):
    """w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps), t the number of this step. As `torch.optim.Adam`.

    g = dL/dw + weight_decay w;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2.
    Kingma & Ba 2015, "Adam: a method for stochastic optimization", algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """lr, eps and weight_decay: 0 or more; betas: two numbers in [0, 1)."""
        super().__init__(params, lr, weight_decay)
        self.betas = _within("Adam: betas[0]", betas[0], 0, 1), _within("Adam: betas[1]", betas[1], 0, 1)
        self.eps = _within("Adam: eps", eps, 0, math.inf)
        self._steps: dict[Tensor, int] = {}

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        first, second = self.betas

        def constants(parameter: Tensor) -> tuple[float, ...]:
            self._steps[parameter] = t = self._steps.get(parameter, 0) + 1
            root = 1 / math.sqrt(1 - second**t)
            return self.lr / (1 - first**t), first, second, root, self.eps, self.weight_decay

        self._apply("adam", 2, constants)


def _within(name: str, value: float, low: float, high: float) -> float:
    if not low <= value < high:
        raise ValueError(f"{name} is {value!r}; it must be in [{low}, {high})")
    return float(value)
