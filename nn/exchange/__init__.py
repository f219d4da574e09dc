"""Networks for other programs, and from them: ONNX files, PyTorch's state dicts."""

from .onnx import export_onnx

__all__ = ["export_onnx"]
