"""Does training follow PyTorch's? The same U-Net, initial weights, batches and SGD, step by step, in both.

Batches are crops of the embedded nuclei. Prints both loss curves and their largest relative difference; exits 1 where
that is above 1e-3. The two round differently (they sum in different orders) and training multiplies small differences,
the more the larger the steps. How much is rounding alone, PyTorch in float32 against itself in float64 tells: with the
defaults 2e-4, and upconv against PyTorch 1e-4; with --lr 0.01 they are 2e-3 and 1e-3.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from upconv import nn
from upconv.nn.data import nuclei
from upconv.nn.loading import batches

TOLERANCE = 1e-3

Batches = Iterable[tuple[np.ndarray, np.ndarray]]


def upconv_losses(model: nn.UNet, data: Batches, lr: float) -> list[float]:
    optimizer = nn.SGD(model.parameters(), lr=lr, momentum=0.9)
    losses = []
    for images, labels in data:
        loss = nn.cross_entropy(model(images), labels, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def torch_losses(model: Any, data: Batches, lr: float) -> list[float]:
    import torch

    dtype = model.head.weight.dtype
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    losses = []
    for images, labels in data:
        scores = model(torch.from_numpy(images).to(dtype))
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels).long(), ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, default in (("steps", 50), ("width", 16), ("depth", 4), ("batch", 4), ("crop", 64), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"({default})")
    parser.add_argument("--lr", type=float, default=0.003, help="(0.003)")


def run(args: argparse.Namespace) -> int:
    from .peers.pytorch_unet import like

    settings = nn.Settings(batch=args.batch, crop=args.crop)
    source = batches(nuclei().train, settings, np.random.default_rng(args.seed))
    data = [next(source) for _ in range(args.steps)]
    ours = nn.UNet(in_channels=1, classes=2, width=args.width, depth=args.depth, rng=args.seed)
    theirs, exact = like(ours), like(ours).double()

    a, b, c = (
        np.array(losses)
        for losses in (
            upconv_losses(ours, data, args.lr),
            torch_losses(theirs, data, args.lr),
            torch_losses(exact, data, args.lr),
        )
    )
    differences = np.abs(a - b) / np.abs(b)
    print("step    upconv   PyTorch   relative difference")
    for step in range(0, args.steps, max(1, args.steps // 10)):
        print(f"{step:4d}  {a[step]:.6f}  {b[step]:.6f}   {differences[step]:.1e}")
    worst, rounding = float(differences.max()), float((np.abs(b - c) / np.abs(c)).max())
    print(f"largest relative difference in {args.steps} steps: upconv to PyTorch {worst:.1e}")
    print(f"for comparison, PyTorch in float32 to PyTorch in float64: {rounding:.1e}")
    if not worst <= TOLERANCE:  # NaN fails too
        print(f"above {TOLERANCE}: the curves part", file=sys.stderr)
        return 1
    return 0
