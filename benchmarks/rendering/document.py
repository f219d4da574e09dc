"""What a report says, in order: losses first, then what was measured on, the roofline, and a table for each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from .. import memory, startup
from ..results import OURS, Measurement, Results
from ..shapes import GROUPS

TITLES = {group.name: group.title for group in GROUPS}


@dataclass(frozen=True)
class Heading:
    """A title; level 1 is the report's own."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """Cells; the first `left` columns are words, the others numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 2


@dataclass(frozen=True)
class Picture:
    """The picture of this name, and what it shows."""

    name: str
    text: str


Block = Heading | Text | Table | Picture

METHOD = """\
Every result is checked before it is timed: max |result - exact| / max |exact| must be at most 1e-4, exact being the
same call in float64, where convolutions are plain sums; after the first training step the losses must agree within
1e-5. Times are medians; all entrants take turns in one process, and run untimed first, until the threads of the one
before have gone to sleep. Inputs are in the entrant's own format before the clock starts: channels-last for upconv,
PyTorch NHWC and OpenVINO NHWC, NCHW for the others. PyTorch reuses the memory of freed results, as upconv does by
itself; ONNX Runtime and OpenVINO compute in float32, have their weights as constants, and write into results that
were allocated before; of upconv's forward passes the weights are packed, as `upconv.nn` has them. A gradient in
PyTorch is its backward pass alone. FLOPs of convolutions are those of the plain sum, padding included, whichever
algorithm runs, so that Winograd's can go past the roof; bytes are those of the arguments and results, each once."""


def build(results: Results) -> list[Block]:
    """The whole report."""
    measured = results.measurements
    compared = [each for each in measured if each.fastest]
    blocks: list[Block] = [Heading(1, "upconv benchmarks"), Text(_setting(results))]
    if results.smoke:
        blocks += [Text("Tiny cases, one round: these times mean nothing.")]
    if not results.complete:
        blocks += [Text("This run was not finished: what is missing was not measured.")]
    for title, lines in (("Failures", results.failures), ("Wrong results of peers, not timed", _wrong(results))):
        if lines:
            blocks += [Heading(2, title), Table(["what"], [[line] for line in lines], left=1)]
    blocks += _losses(compared)
    blocks += _summary(compared)
    blocks += _environment(results)
    if any(each.seconds for each in measured):
        about = "Every case by its FLOPs per byte; the lines are what the machine was measured to reach."
        blocks += [Heading(2, "Roofline"), Picture("roofline", about)]
    for name, title in TITLES.items():
        blocks += _group(name, title, [each for each in measured if each.group == name])
    blocks += _threads(results)
    if results.starts:
        blocks += [Heading(2, "A new process: cold and warm start"), Table(startup.HEAD, startup.rows(results.starts))]
        blocks += [Text("Medians over new processes; with an empty cache folder, kernels are compiled.")]
    if results.memory:
        blocks += [Heading(2, "Peak memory"), Table(memory.HEAD, memory.rows(results.memory)), Text(_about_memory())]
    return [*blocks, Heading(2, "Method"), Text(" ".join(METHOD.split()))]


def _setting(results: Results) -> str:
    known = results.environment
    return (
        f"upconv {known.get('upconv', '?')} on {known.get('processor', '?')}, {known.get('threads', '?')} threads,"
        f" float32, {known.get('date', '?')}. A ratio above 1 means that upconv is faster than the fastest peer."
    )


def _wrong(results: Results) -> list[str]:
    return [line for each in results.measurements for line in each.wrong]


def _losses(compared: Sequence[Measurement]) -> list[Block]:
    lost = sorted((each for each in compared if each.ratio < 1), key=lambda each: each.ratio)
    if not compared:
        return []
    if not lost:
        return [Heading(2, "Losses"), Text(f"None: upconv is the fastest in all {len(compared)} cases.")]
    head = ["operator", "case", "fastest peer", "its ms", "upconv ms", "ratio"]
    rows = []
    for each in lost:
        assert each.fastest
        name, seconds = each.fastest
        rows.append([each.operator, each.case, name, _ms(seconds), _ms(each.ours), f"{each.ratio:.2f}"])
    text = f"In {len(lost)} of {len(compared)} cases the fastest peer is faster than upconv, the worst first."
    return [Heading(2, "Losses"), Text(text), Table(head, rows, left=3)]


def _summary(compared: Sequence[Measurement]) -> list[Block]:
    rows = []
    for name, title in TITLES.items():
        ratios = {(each.operator, each.case): each.ratio for each in compared if each.group == name}
        for operator in dict.fromkeys(operator for operator, _ in ratios):
            own = [ratio for (other, _), ratio in ratios.items() if other == operator]
            won = sum(ratio >= 1 for ratio in own)
            numbers = [f"{won} of {len(own)}", *(f"{each:.2f}" for each in (geometric_mean(own), min(own), max(own)))]
            rows.append([title, operator, *numbers])
    head = ["group", "operator", "not slower", "geometric mean of ratios", "least", "largest"]
    return [Heading(2, "Ratios to the fastest peer"), Table(head, rows)] if rows else []


def _environment(results: Results) -> list[Block]:
    rows = [[name, value] for name, value in results.environment.items()]
    if results.peaks:
        peaks = results.peaks
        rows += [
            ["fused multiply-adds", f"{_giga(peaks.flops)} GFLOP/s; one thread: {_giga(peaks.flops_one_thread)}"],
            ["copy, read and written", f"{_giga(peaks.copy)} GB/s; one thread: {_giga(peaks.copy_one_thread)}"],
        ]
    return [Heading(2, "Environment"), Table(["", ""], rows)]


def _group(name: str, title: str, measured: Sequence[Measurement]) -> list[Block]:
    if not measured:
        return []
    entrants = [each for each in dict.fromkeys(name for row in measured for name in row.seconds) if each != OURS]
    copied = any(each.copy for each in measured)
    head = ["operator", "case", "runs", "upconv ms", *(f"{each} ms" for each in entrants)]
    head += ["ratio"] if entrants else []
    head += ["GFLOP/s", "GB/s", *(["of a copy's"] if copied else []), "error", *(["peer's"] if entrants else [])]
    rows = []
    for each in sorted(measured, key=lambda each: each.ratio):
        cells = [each.operator, each.case, each.variant, _ms(each.ours)]
        cells += [_ms(each.seconds[name]) if name in each.seconds else "" for name in entrants]
        cells += [f"{each.ratio:.2f}" if each.fastest else ""] if entrants else []
        cells += [_giga(each.flops / each.ours) if each.flops else "", _giga(each.bytes / each.ours)]
        cells += [f"{each.share:.2f}" if each.copy else ""] if copied else []
        cells.append(_error(each.errors.get(OURS)))
        cells += [_error(each.errors.get(each.fastest[0]) if each.fastest else None)] if entrants else []
        rows.append(cells)
    blocks: list[Block] = [Heading(2, title)]
    if entrants:
        blocks.append(Picture(name, f"{title}: how many times faster upconv is than each peer."))
    return [*blocks, Table(head, rows, left=3)]


def _threads(results: Results) -> list[Block]:
    known = [each for each in results.measurements if each.one_thread]
    if not known:
        return []
    threads = results.environment.get("threads", "?")
    head = ["network", "", "1 thread ms", f"{threads} threads ms", "times faster"]
    rows = []
    for each in known:
        assert each.one_thread
        cells = [_ms(each.one_thread), _ms(each.ours), f"{each.one_thread / each.ours:.2f}"]
        rows.append([each.case, each.operator, *cells])
    return [Heading(2, "Threads"), Table(head, rows)]


def _about_memory() -> str:
    paragraph = (memory.__doc__ or "").partition("\n\n")[2]
    return " ".join(paragraph.split())


def _ms(seconds: float) -> str:
    """Milliseconds to three digits."""
    value = 1e3 * seconds
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f}" if value >= 1 else f"{value:.3f}"


def _giga(value: float) -> str:
    return f"{value / 1e9:.{0 if value >= 1e10 else 1}f}"


def _error(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.0e}"
