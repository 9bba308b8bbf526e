"""A process that starts two workers and is killed while they start: `python -m tests.process.born MIB`.

MIB: how large the first worker has grown then; a larger one is further on. Prints the pids of all that it has started.
"""

import asyncio
import os
import signal
import sys

import psutil

from cosyserve.pool.pool import Pool
from cosyserve.settings.sections import Settings


async def main(mib: int) -> None:
    pool = Pool(Settings.model_validate({"workers": {"count": 2}, "model": {"engine": "tests.engines:hangs_at_start"}}))
    pool.start()
    first = psutil.Process(pool.statuses()[0].pid)
    while first.memory_info().rss < mib * 2**20:
        pass
    print("pids", *(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
