"""`cosyserve` and `python -m cosyserve`.

Spawned workers import this module again, before they are pinned: it loads nothing but the command line.
"""

import os
import sys


def main() -> int:
    """Run the command line. Returns the exit status."""
    from cosyserve.cli import run

    try:
        status = run(sys.argv[1:])
        # A server may have none.
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read it, `head` for one, has seen enough; the interpreter's own flush at the end would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
