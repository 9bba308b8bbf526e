"""What is freed goes back: one arena, however many threads there are."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import ctypes, sys, threading
from cosyserve.http.allocator import keep_little

assert sys.argv[2] == "as it is" or keep_little()
together = threading.Barrier(8)

def work():
    blocks = [bytearray(100_000) for _ in range(20)]
    together.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def arenas(folder: Path, words: str) -> int:
    path = folder / "arenas.xml"
    subprocess.run([sys.executable, "-c", CODE, str(path), words], check=True)
    return path.read_text().count("<heap nr=")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="another C library than glibc")
def test_one_arena_for_all_threads(tmp_path: Path) -> None:
    assert arenas(tmp_path, "as it is") > 1
    assert arenas(tmp_path, "told") == 1
