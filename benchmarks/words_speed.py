"""What reading costs: processor time for a megabyte, and how long other threads wait while texts are read."""

import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from cosyserve_words.reading import read
from cosyserve_words.spans import Options

SECONDS, SWITCH_S, STEP_S = 4.0, 0.001, 0.0005
_ENGLISH = (
    "The committee met in the old town hall, and nobody could say why it had taken so long. Some thought that the rain "
    "was to blame; others pointed at the road, which had been closed since March. In the end 14 people voted for the "
    "plan and 3 against it.\n"
)
_CHINESE = (
    "委员会在老镇的礼堂里开会，没有人说得清为什么拖了这么久。有人怪下雨，有人说是因为那条从三月起就封闭的路。"
    "最后14个人赞成，3个人反对，会议就这样结束了。\n"
)
_ENGLISH_FIGURES = (
    "Dr. Smith paid $1,234.50 for 5 kg of tea on May 5, 2024, at 5:30 p.m. in St. Louis; the 2nd game was 3-2.\n"
)
_CHINESE_FIGURES = (
    "2024年5月6日，气温25℃，他花了￥1,234.50买了5公斤茶叶。下午3点30分回家，电话是13800138000，比分3:2。\n"
)
TEXTS = {
    "English": ("en", _ENGLISH),
    "Chinese": ("zh", _CHINESE),
    "English, a figure every 20 characters": ("en", _ENGLISH_FIGURES),
    "Chinese, a figure every 6 characters": ("zh", _CHINESE_FIGURES),
}


def megabyte(language: str, text: str) -> float:
    """Processor seconds for a megabyte of UTF-8."""
    whole = text * (1_000_000 // len(text.encode()))
    before = time.process_time()
    read(whole, Options(language))
    return time.process_time() - before


def waits(work: Callable[[], object]) -> list[float]:
    """How much later than asked another thread woke up while `work` was done again and again: seconds, by size."""
    found: list[float] = []
    end = time.perf_counter() + SECONDS

    def watch() -> None:
        while time.perf_counter() < end:
            asked = time.perf_counter() + STEP_S
            time.sleep(STEP_S)
            found.append(time.perf_counter() - asked)

    watcher = threading.Thread(target=watch)
    watcher.start()
    while time.perf_counter() < end:
        work()
    watcher.join()
    return sorted(found)


def _count() -> None:
    for _ in range(10_000):
        pass


def main() -> None:
    """The command."""
    sys.setswitchinterval(SWITCH_S)
    print("| text | s for a megabyte | wait, median | p99 | longest |\n|---|---|---|---|---|")
    rows: list[tuple[str, str, Callable[[], object]]] = [("a loop that only counts", "", _count)]
    for name, (language, text) in TEXTS.items():
        piece = (text * 20).encode()[:1000].decode(errors="ignore")
        options = Options(language)
        rows.append((name, f"{megabyte(language, text):.2f}", partial(read, piece, options)))
    for name, cost, work in rows:
        found = waits(work)
        middle, most = found[len(found) // 2], found[int(0.99 * len(found))]
        print(f"| {name} | {cost} | {1e3 * middle:.2f} ms | {1e3 * most:.2f} ms | {1e3 * found[-1]:.2f} ms |")


if __name__ == "__main__":
    main()
