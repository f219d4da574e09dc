"""Pictures of results, as PNG: the roofline, and bars against peers. Drawing needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from upconv._extras import require

from ..cases import CONVOLUTION, TRANSPOSED
from ..results import OURS, Measurement, Peaks, Results
from ..shapes import GROUPS
from ..unet import PARTS

KINDS = {  # colours that differ for the colour-blind too (Okabe & Ito)
    "whole networks": ("#000000", "*", PARTS),
    "convolution": ("#0072b2", "o", CONVOLUTION[:1]),
    "its gradients": ("#56b4e9", "^", CONVOLUTION[1:]),
    "transposed convolution and gradients": ("#d55e00", "s", TRANSPOSED),
    "all else": ("#009e73", ".", ()),
}
FASTER, SLOWER = "#0072b2", "#d55e00"
MARKS = {
    "PyTorch NHWC": ("o", "#e69f00"),
    "PyTorch NCHW": ("o", "#f0e442"),
    "ONNX Runtime": ("D", "#cc79a7"),
    "OpenVINO NHWC": ("s", "#009e73"),
    "OpenVINO NCHW": ("s", "#b5e2d3"),
    "SciPy": ("^", "#000000"),
}
FEW = 0.01  # FLOPs per byte: one gradient has 4e-6, which would squeeze all others into a corner
ROW = 0.22  # inches of a case
TICKS = [digit * 10.0**power for power in range(-4, 5) for digit in (1, 1.5, 2, 3, 5, 7)]


def pictures(results: Results) -> dict[str, bytes]:
    """Every picture that the results allow, by name."""
    found = {}
    if results.measurements:
        found["roofline"] = roofline(results.measurements, results.peaks)
    for group in GROUPS:
        measured = [each for each in results.measurements if each.group == group.name and each.fastest]
        if measured:
            found[group.name] = bars(measured, group.title)
    return found


def _figure(width: float, height: float) -> Any:
    figure = require("matplotlib.figure", extra="bench").Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", extra="bench").FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def kind(measurement: Measurement) -> str:
    """Which of KINDS it is."""
    return next((name for name, (_, _, known) in KINDS.items() if measurement.operator in known), "all else")


def roofline(measurements: Sequence[Measurement], peaks: Peaks | None) -> bytes:
    """FLOPs per second over FLOPs per byte, under the roofs; beside it, what has fewer than FEW, by its bytes."""
    figure = _figure(12, 6.5)
    counted = [each for each in measurements if each.flops / each.bytes >= FEW]
    bare = [each for each in measurements if each not in counted]
    main, side = figure.subplots(1, 2, width_ratios=(6, 1)) if bare else (figure.subplots(), None)
    for name, (colour, marker, _) in KINDS.items():
        own = [each for each in counted if kind(each) == name]
        x, y = ([each.flops / each.bytes for each in own], [each.flops / each.ours / 1e9 for each in own])
        faces = ["white" if each.variant == "winograd" else colour for each in own]
        style = {"marker": marker, "s": 110 if marker == "*" else 38, "alpha": 0.8}
        if own:
            main.scatter(x, y, zorder=3, facecolors=faces, edgecolors=colour, **style)
            main.scatter([], [], label=name, c=colour, **style)
    if any(each.variant == "winograd" for each in counted):
        label = "hollow: Winograd, which needs fewer FLOPs than it is counted"
        main.scatter([], [], label=label, facecolors="white", edgecolors=KINDS["convolution"][0], s=38)
    if peaks and counted:
        least = min(each.flops / each.bytes for each in counted) / 1.5
        most = max(each.flops / each.bytes for each in counted) * 1.5
        roofs = [(peaks.flops, peaks.copy, peaks.threads, "-")]
        if peaks.threads > 1:
            roofs.append((peaks.flops_one_thread, peaks.copy_one_thread, 1, "--"))
        for flops, copy, threads, line in roofs:
            knee = flops / copy
            x = sorted({least, min(max(knee, least), most), most})
            label = f"{threads} thread{'s' * (threads > 1)}: {flops / 1e9:.0f} GFLOP/s, {copy / 1e9:.0f} GB/s"
            main.plot(x, [min(flops, copy * each) / 1e9 for each in x], line, color="#444444", label=label, zorder=2)
    main.set(xscale="log", yscale="log", xlabel="FLOPs per byte", ylabel="GFLOP/s", title="Roofline, float32")
    main.legend(loc="lower right", fontsize=9)
    main.grid(visible=True, which="major", color="#dddddd", zorder=0)
    if side:
        y = [each.bytes / each.ours / 1e9 for each in bare]
        side.scatter([0] * len(bare), y, c=KINDS["all else"][0], alpha=0.6, zorder=3)
        if peaks:
            side.axhline(peaks.copy / 1e9, color="#444444")
            side.text(-0.95, peaks.copy / 1e9, "copy", va="bottom", fontsize=9)
        side.set(xlim=(-1, 1), xticks=[], title="hardly any FLOPs", ylabel="GB/s", ylim=(0, None))
        side.grid(visible=True, axis="y", color="#dddddd", zorder=0)
    return _png(figure)


def bars(measurements: Sequence[Measurement], title: str) -> bytes:
    """For each case, how many times faster upconv is than the fastest peer, and than each other one."""
    rows = sorted(measurements, key=lambda each: each.ratio, reverse=True)  # the first row is drawn at the bottom
    figure = _figure(12, 1.6 + ROW * len(rows))
    axes = figure.subplots()
    places = range(len(rows))
    colours = [FASTER if each.ratio >= 1 else SLOWER for each in rows]
    axes.barh(places, [each.ratio - 1 for each in rows], left=1, color=colours, height=0.7, zorder=2)
    entrants = dict.fromkeys(name for each in rows for name in each.seconds if name != OURS)
    for name in entrants:
        marker, colour = MARKS.get(name, ("v", "#888888"))
        points = [(each.seconds[name] / each.ours, i) for i, each in enumerate(rows) if name in each.seconds]
        x, y = zip(*points, strict=True)
        axes.scatter(x, y, marker=marker, c=colour, s=22, label=name, zorder=3, edgecolors="#333333", linewidths=0.4)
    axes.axvline(1, color="#1b1f24", linewidth=1, zorder=4)
    axes.set_yticks(places, [f"{each.operator}: {each.case}   {each.ratio:.2f}" for each in rows], fontsize=8)
    axes.set(xscale="log", ylim=(-0.6, len(rows) - 0.4), xlabel="seconds of a peer / seconds of upconv", title=title)
    seen = [each.seconds[name] / each.ours for each in rows for name in each.seconds]  # 1 for upconv
    low, high = min(seen) / 1.1, max(seen) * 1.1
    ticks = [each for each in (TICKS if high / low < 30 else TICKS[::3]) if low < each < high]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{each:g}" for each in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(visible=True, axis="x", color="#e4e4e4", zorder=0)
    figure.legend(loc="outside lower center", ncols=len(entrants), fontsize=9, frameon=False)
    return _png(figure)
