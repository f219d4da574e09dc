"""Reports of results: what they say (document.py), their pictures (plots.py), and how they are written (formats.py)."""
