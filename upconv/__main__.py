"""`python -m upconv` is `upconv`."""

import sys

from .cli import main

sys.exit(main())
