"""The optimisers' rules, with PyTorch's names, arguments and meaning."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .optimizer import Optimizer, within
from .tensor import Tensor


class SGD(Optimizer):
    """g = dL/dw + weight_decay w;  v = momentum v + g;  w -= lr v. As `torch.optim.SGD` with dampening 0.

    nesterov=True: w -= lr (g + momentum v). Sutskever et al. 2013, "On the importance of initialization and momentum
    in deep learning".
    """

    options = ("lr", "momentum", "weight_decay", "nesterov")
    arrays = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        """lr and weight_decay: 0 or more; momentum: in [0, 1), with nesterov above 0."""
        super().__init__(params, lr, weight_decay)
        self.momentum, self.nesterov = within("SGD: momentum", momentum, 0, 1), bool(nesterov)
        if nesterov and not momentum:
            raise ValueError(f"SGD: momentum is {momentum!r}; with nesterov=True it must be above 0")

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        constants = self.lr, self.momentum, self.weight_decay
        self._apply("nesterov" if self.nesterov else "sgd", lambda t: constants)


class Adagrad(Optimizer):
    """g = dL/dw + weight_decay w;  r += g^2;  w -= lr / (1 + (t - 1) lr_decay) g / (sqrt(r) + eps).

    As `torch.optim.Adagrad`, t being the number of this step. Duchi, Hazan & Singer 2011, "Adaptive subgradient methods
    for online learning and stochastic optimization".
    """

    options = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
    arrays = ("sum",)

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        """All 0 or more. initial_accumulator_value: r before the first step."""
        super().__init__(params, lr, weight_decay)
        self.lr_decay = within("Adagrad: lr_decay", lr_decay, 0, math.inf)
        self.initial = within("Adagrad: initial_accumulator_value", initial_accumulator_value, 0, math.inf)
        self.initial_accumulator_value = self.initial
        self.eps = within("Adagrad: eps", eps, 0, math.inf)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self._apply("adagrad", lambda t: (self.lr / (1 + (t - 1) * self.lr_decay), self.eps, self.weight_decay))


class RMSprop(Optimizer):
    """g = dL/dw + weight_decay w;  r = alpha r + (1 - alpha) g^2;  v = momentum v + g / (sqrt(r) + eps);  w -= lr v.

    As `torch.optim.RMSprop` that is not centered. Tieleman & Hinton 2012, "Neural networks for machine learning",
    lecture 6.5.
    """

    options = ("lr", "alpha", "eps", "weight_decay", "momentum")
    arrays = ("square_avg", "momentum_buffer")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        """lr, eps and weight_decay: 0 or more; alpha and momentum: in [0, 1)."""
        super().__init__(params, lr, weight_decay)
        self.alpha, self.eps = within("RMSprop: alpha", alpha, 0, 1), within("RMSprop: eps", eps, 0, math.inf)
        self.momentum = within("RMSprop: momentum", momentum, 0, 1)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        constants = self.lr, self.alpha, self.eps, self.momentum, self.weight_decay
        self._apply("rmsprop", lambda t: constants)


class Adam(Optimizer):
    """w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps), t the number of this step. As `torch.optim.Adam`.

    g = dL/dw + weight_decay w;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2.
    Kingma & Ba 2015, "Adam: a method for stochastic optimization", algorithm 1.
    """

    options = ("lr", "betas", "eps", "weight_decay")
    arrays = ("exp_avg", "exp_avg_sq")

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
        first, second = (within(f"{type(self).__name__}: betas[{i}]", betas[i], 0, 1) for i in range(2))
        self.betas = first, second
        self.eps = within(f"{type(self).__name__}: eps", eps, 0, math.inf)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self._step("adam", self.weight_decay)

    def _step(self, rule: str, decay: float) -> None:
        first, second = self.betas
        self._apply(
            rule, lambda t: (self.lr / (1 - first**t), first, second, 1 / math.sqrt(1 - second**t), self.eps, decay)
        )


class AdamW(Adam):
    """w -= lr weight_decay w, then as Adam without weight decay. As `torch.optim.AdamW`.

    Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        """As `Adam`, but for the default of weight_decay."""
        super().__init__(params, lr, betas, eps, weight_decay)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self._step("adamw", self.lr * self.weight_decay)
