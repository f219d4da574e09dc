"""The tape: calls that remember where their inputs came from, so that gradients can be sent back through them.

A differentiable function computes with plain arrays and hands `tensor.record` its result, the tensors it read and one
closure that turns the gradient of the result into the gradients of those tensors. `send_back` calls these closures
newest first and frees each as it goes. (The shape of HIPS autograd, Maclaurin et al. 2015:
https://github.com/HIPS/autograd)

Gradients are handed on without copies: `gradients.py` says who may write into them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.namespace import trusted
from .gradients import summed

if TYPE_CHECKING:
    from .tensor import Tensor

Array = np.ndarray
Backward = Callable[[Array], Sequence[Array | None]]

_clock = count()


class Node:
    """One recorded call: the closure that sends its gradient on, holding the arrays for that, and where to.

    sources: for each input the node, or the leaf tensor, that it came from; None where no gradient is wanted.
    """

    __slots__ = ("backward", "name", "sources", "time")

    def __init__(self, name: str, sources: tuple[Node | Tensor | None, ...], backward: Backward) -> None:
        """Note the time: a node is younger than every node it came from."""
        self.name = name
        self.sources = sources
        self.backward: Backward | None = backward
        self.time = next(_clock)

    def free(self) -> None:
        """Let go of the saved arrays and of the graph behind."""
        self.backward, self.sources = None, ()


def send_back(root: Node, grad: Array) -> None:
    """Send the gradient of root's result to all leaf tensors that it came from, and free the graph on the way."""
    nodes = _newest_first(root)
    pending = {root: grad}
    with trusted():  # labels and positions were looked at when the nodes were made
        for node in nodes:
            if node not in pending or node.backward is None:
                continue
            parts = node.backward(pending.pop(node))
            for source, part in zip(node.sources, parts, strict=True):
                if part is None or source is None:
                    continue
                if isinstance(source, Node):
                    pending[source] = summed(pending[source], part) if source in pending else part
                else:
                    source._add_grad(part)
            node.free()


def _newest_first(root: Node) -> list[Node]:
    """Every node behind root: a node is younger than all it read, so by falling time is a topological order."""
    seen, stack = {root}, [root]
    while stack:
        node = stack.pop()
        if node.backward is None:
            raise RuntimeError(f"backward: an earlier backward freed the graph at {node.name}; run forward again")
        fresh = {source for source in node.sources if isinstance(source, Node)} - seen
        seen |= fresh
        stack.extend(fresh)
    return sorted(seen, key=lambda node: node.time, reverse=True)
