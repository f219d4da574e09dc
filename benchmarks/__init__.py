"""How fast upconv is, beside its peers where they are installed: `python -m benchmarks --help`."""
