"""Run the command line as `python -m iter_lightning`."""

import sys

from iter_lightning.cli import main

if __name__ == "__main__":
    sys.exit(main())
