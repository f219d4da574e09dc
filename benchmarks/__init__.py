"""How fast upconv is, beside PyTorch where that is installed: `python -m benchmarks --help`."""
