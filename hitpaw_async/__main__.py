"""`python -m hitpaw_async`: the command line `hitpaw`."""

from __future__ import annotations

import sys

from hitpaw_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
