"""A training step, or a prediction, as a CUDA graph: one call starts all its kernels, instead of one call for each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import ref

from .._extras import require
from ..kernels.capture import Action
from ..kernels.capture import capture as captured
from ..kernels.namespace import is_array, on_device
from .device import EXTRAS, assign, moved, resolved
from .tensor import Array, Tensor


class Captured:
    """A step that becomes a graph: see `capture`."""

    def __init__(self, step: Callable[..., Any], warmup: int) -> None:
        """Nothing is captured yet."""
        if not callable(step):
            raise TypeError(f"capture: step must be a function, got a {type(step).__name__}")
        if warmup < 1:
            raise ValueError(f"capture: warmup is {warmup!r}; 1 or more steps must make what is made once")
        resolved("cuda")  # or there is nothing to capture on
        self._cuda: Any = require("cupy", extra=EXTRAS).cuda
        self._step, self._warmup = step, warmup
        self._inputs: list[Array] = []
        self._actions: list[Action] = []
        self._graph: Any = None
        self._result: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """One step."""
        self._take([each.data if isinstance(each, Tensor) else each for each in arguments])
        given = [Tensor(x) if isinstance(each, Tensor) else x for x, each in zip(self._inputs, arguments, strict=True)]
        if self._warmup > 0:
            self._warmup -= 1
            return self._step(*given)
        if self._graph is None:
            self._result = self._record(given)
        for action in self._actions:
            action()
        self._graph.launch()
        return self._result

    def _take(self, arrays: list[Any]) -> None:
        """Copy what this step is given into the graph's own inputs."""
        for number, x in enumerate(arrays):
            if not is_array(x):
                raise TypeError(f"capture: argument {number} is a {type(x).__name__}; arrays and tensors are needed")
        if not self._inputs:
            self._inputs = [x.copy("K") if on_device(x) else moved(x, "cuda") for x in arrays]
            return
        kinds = [[(x.shape, x.dtype.name) for x in each] for each in (arrays, self._inputs)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"capture: the arguments are {kinds[0]}; the step was begun with {kinds[1]}")
        for own, x in zip(self._inputs, arrays, strict=True):
            assign(own, x)

    def _record(self, given: list[Any]) -> Any:
        """Capture the step: nothing is computed, its results are where each launch will write them."""
        stream, allocate = self._cuda.Stream(non_blocking=True), _memory(self, self._cuda).malloc
        with stream, captured() as actions, self._cuda.using_allocator(allocate):
            stream.begin_capture()
            try:
                result = self._step(*given)
                self._graph = stream.end_capture()
            except BaseException as error:
                with suppress(RuntimeError):  # that this capture has failed
                    stream.end_capture()
                if isinstance(error, RuntimeError):  # as CuPy's are
                    raise RuntimeError(
                        f"capture: this step cannot become a graph; does it read numbers from the GPU? {error}"
                    ) from error
                raise
        self._actions = actions
        return result


_lent: list[tuple[ref[Captured], Any, Any]] = []  # memory of graphs: whose, on which device, the pool


def _memory(owner: Captured, cuda: Any) -> Any:
    """A pool for what is made in a capture, which nobody else may use.

    It is kept until the graph and all arrays in it are gone: CuPy gives a pool's memory back with the pool, also from
    under gradients that outlive their graph.
    """
    _lent[:] = [each for each in _lent if each[0]() is not None or _used(*each[1:])]
    pool = cuda.MemoryPool()
    _lent.append((ref(owner), cuda.Device(), pool))
    return pool


def _used(device: Any, pool: Any) -> bool:
    with device:
        return pool.used_bytes() > 0


def capture(step: Callable[..., Any], *, warmup: int = 2) -> Captured:
    """A function that does what `step` does, as a CUDA graph: for steps that are many small kernels.

    step: a function of arrays and tensors, for instance of a batch, that works on a GPU; it gives a tensor, an array,
    or anything made of them. Every call does one step. The first `warmup` calls run it as it is, which compiles kernels
    and makes what is made once, as optimisers' states are; the next captures it, and from then on its kernels are
    started by one launch.

    What is given is copied into the graph's own inputs, NumPy arrays from the host. What is given back are always the
    same arrays, which the next call overwrites: copy what is to stay. All parameters, buffers and gradients are changed
    as by `step` itself, to the same bits; but matrix products that CuPy leaves to cuBLAS, as of linear layers, are
    rounded otherwise, since it lets no graph hold them and a kernel computes them, and dropout makes NaN of infinite
    numbers that it drops.

    Limits, which are CUDA's: shapes and dtypes stay those of the first call; Python runs when the step is captured, not
    with each launch, so its branches and numbers are those of that moment. Only what optimisers need anew, learning
    rates and step counts, and the seeds of dropout are renewed before each launch. Nothing may be read from the GPU in
    the step: no `item()`, no printing; labels out of range are not noticed, but no memory is touched that they might
    point to. What a step keeps for the next it must change in place.

    Raises TypeError for a step that is no function, ValueError for a warmup below 1, ImportError without CuPy,
    RuntimeError where no GPU answers; when called TypeError for anything but arrays and tensors, ValueError where their
    shapes or dtypes change, RuntimeError for a step that cannot be captured.

    >>> from upconv import nn
    >>> def step(images, labels):
    ...     loss = nn.cross_entropy(model(images), labels)
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> step = nn.capture(step)  # doctest: +SKIP
    >>> for images, labels in batches:  # doctest: +SKIP
    ...     loss = step(images, labels)
    """
    return Captured(step, warmup)
