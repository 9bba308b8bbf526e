"""`python -m tests.serving_hostile serve …`: the service with the decoder of `tests.jobs`, which recordings command.

COSYTEST_DECODE_S: how long a decoding may take.
"""

import os
import sys

from cosyserve import cli
from cosyserve.voices import prompts

if __name__ == "__main__":
    prompts.DECODE = "tests.jobs:decode"
    prompts.DECODE_S = float(os.environ.get("COSYTEST_DECODE_S", prompts.DECODE_S))
    sys.exit(cli.run(sys.argv[1:]))
