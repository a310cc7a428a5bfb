"""``python -m mho``: the same as the command ``mho``."""

import sys

from mho_cli.app import main

if __name__ == "__main__":
    sys.exit(main())
