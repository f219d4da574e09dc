"""The commands that exchange models with other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from upconv.errors import InputError

SAVING = "safetensors.torch.save_file(model.float().state_dict(), PATH) writes one that can be read"


def import_weights(arguments: argparse.Namespace) -> int:
    """`upconv import`."""
    from upconv.nn import from_pytorch, io

    source, output = arguments.weights, arguments.output
    if not source.is_file():
        raise InputError(f"there is no file {source}")
    _check_output(output, source, (".safetensors",))
    if arguments.unpadded and arguments.network != "unet":
        raise InputError(f"--unpadded is for --network unet, not {arguments.network}")
    options = {"padded": False} if arguments.unpadded else {}
    try:
        state, _ = io.read(source)
    except ValueError as error:
        raise InputError(f"{source} {error}; in PyTorch, {SAVING}") from error
    try:
        model = from_pytorch(state, arguments.network, **options)
    except ValueError as error:
        raise InputError(f"{source}: {str(error).removeprefix('from_pytorch: ')}") from error
    io.save(model, output)
    print(f"{output}: {type(model).__name__}({model.describe()})")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """`upconv export`."""
    from upconv.nn import export_onnx, files, io, to_pytorch

    output, size = arguments.output, arguments.size
    _check_output(output, arguments.model, (".onnx", ".safetensors"))
    model = io.load_given(arguments.model)
    if output.suffix == ".safetensors":
        if size or arguments.fixed:
            raise InputError("--size and --fixed are for ONNX files; weights have no size of images")
        state = to_pytorch(model)
        files.write(output, io.content(state, {"format": "pt"}))
        print(f"{output}: {len(state)} arrays, named as in PyTorch")
        return 0
    if size is None:
        raise InputError("--size HEIGHT WIDTH is needed: pixels of an image that the network takes")
    shape = (1, getattr(model, "in_channels", 1), *size)
    try:
        export_onnx(model, output, shape, dynamic=not arguments.fixed)
    except ValueError as error:
        raise InputError(str(error).removeprefix("export_onnx: ")) from error
    print(f"{output}: {type(model).__name__} for {' x '.join(map(str, shape))}, checked")
    return 0


def _check_output(output: Path, source: Path, endings: tuple[str, ...]) -> None:
    if output.suffix not in endings:
        raise InputError(f"{output} must be named {' or '.join(endings)}")
    if not output.parent.is_dir():
        raise InputError(f"there is no folder {output.parent} to write {output.name} to")
    if output.resolve() == source.resolve():
        raise InputError(f"{output} would overwrite what is read; give another name")
