"""What a call would run, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import layout
from .case import Cost
from .op import Op


@dataclass(frozen=True)
class Explanation:
    """What a call would run, and why; print it."""

    text: str
    variant: str
    cost: Cost

    def __str__(self) -> str:
        """The text."""
        return self.text

    __repr__ = __str__


def explain(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """Say what `function(*args, **kwargs)` would run and why, without running it.

    function: an operator of `upconv.kernels`. The answer prints as text; `.variant` is the name of what runs and
    `.cost` the FLOPs and bytes of the call.

    Raises what the call itself would raise, and TypeError where `function` is no operator.
    """
    op = getattr(function, "op", None)
    if not isinstance(op, Op):
        raise TypeError(f"explain: function must be an operator of upconv.kernels, got {function!r}")
    case, chosen = op.prepare(*args, **kwargs)
    cost = case.cost
    shapes = [str(o.given) for o in case.outputs]
    lines = [f"{op.name} -> {', '.join(shapes)} {case.outputs[0].dtype}"]
    if case.answer is not None:
        return Explanation(f"{lines[0]}\n  nothing runs: the result is in memory already", "none", Cost(0, 0))
    lines.append(f"  {cost.flops:,} FLOPs, {cost.bytes:,} bytes: {cost.flops / max(cost.bytes, 1):.1f} FLOPs per byte")
    variants, _ = op.serving(case.device)
    for variant in variants if chosen in variants else [*variants, chosen]:
        reason = variant.cannot_serve(case)
        unless = None if reason else variant.leaves(case)
        could = f"could serve, if asked for: {unless}" if unless else "could serve"
        state = "runs" if variant is chosen else f"cannot serve: {reason}" if reason else could
        details = "" if reason else variant.describe(*case.arguments, **case.parameters)
        lines.append(f"  {variant.name}: {state}{', ' * bool(details)}{details}")
    copied = [p for p in case.maps if not layout.is_channels_last(case.arguments[p])]
    lines += [f"  argument {position} is copied to channels-last first" for position in copied]
    return Explanation("\n".join(lines), chosen.name, cost)
