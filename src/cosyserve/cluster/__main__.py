"""`python -m cosyserve.cluster engine=demo`."""

import sys

if __name__ == "__main__":
    from cosyserve.cluster.command import main

    sys.exit(main(sys.argv[1:]))
