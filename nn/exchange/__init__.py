"""Networks for other programs, and from them: ONNX files, PyTorch's state dicts."""

from .onnx import export_onnx
from .pytorch import from_pytorch, to_pytorch

__all__ = ["export_onnx", "from_pytorch", "to_pytorch"]
