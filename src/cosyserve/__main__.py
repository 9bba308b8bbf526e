"""`cosyserve` and `python -m cosyserve`.

Spawned workers import this module again, before they are pinned: it loads nothing but the command line.
"""

import sys


def main() -> int:
    """Run the command line. Returns the exit status."""
    from cosyserve.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
