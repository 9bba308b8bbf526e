"""Draws the picture of docs/architecture.md from the imports themselves: `make picture`, which rewrites it in place."""

import sys
from collections.abc import Iterable
from pathlib import Path

import grimp

PAGE = Path(__file__).with_name("architecture.md")
BEGIN, END = "<!-- drawn by `make picture` -->\n", "<!-- end of the picture -->\n"
SIDES = {
    "cosyserve": "front end, one process",
    "cosyserve_workers": "worker process, one a GPU",
    "cosyserve_words": "words, in either",
}
GROUND = frozenset({"settings", "errors", "protocol"})
"""What nearly every room stands on: drawn as one."""
ENTRANCE = frozenset({"__main__", "cli"})
SHARED = frozenset({"engine", "budgeted_cache", "mel_stretch", "pcm", "resampling", "text", "torch_device"})
"""What every engine may use."""
LABELS = {"ground": "settings, errors, protocol", "shared": "engine, text, pcm, …"}

Arrow = tuple[str, str]


def rooms(graph: grimp.ImportGraph) -> dict[str, str]:
    """Every module to its room: a package of its side, or a module beside the packages."""
    found = {}
    for module in graph.modules:
        side, _, inside = module.partition(".")
        if side in SIDES and inside:
            found[module] = f"{side}_{_joined(inside.partition('.')[0])}"
    return found


def _joined(name: str) -> str:
    if name in GROUND:
        return "ground"
    if name in SHARED:
        return "shared"
    return "cli" if name in ENTRANCE else name


def arrows(graph: grimp.ImportGraph) -> set[Arrow]:
    """Who imports whom, room by room."""
    room_of = rooms(graph)
    return {
        (room_of[module], room_of[imported])
        for module in room_of
        for imported in graph.find_modules_directly_imported_by(module)
        if imported in room_of and room_of[imported] != room_of[module]
    }


def essential(drawn: Iterable[Arrow]) -> list[Arrow]:
    """Those that do not follow from others: who may use a room may use what lies below it."""
    drawn = set(drawn)
    return sorted(arrow for arrow in drawn if not _leads(drawn - {arrow}, *arrow))


def _leads(drawn: set[Arrow], start: str, goal: str) -> bool:
    reached: set[str] = set()
    ahead = [start]
    while ahead:
        room = ahead.pop()
        following = {imported for importer, imported in drawn if importer == room} - reached
        reached |= following
        ahead += following
    return goal in reached


def picture() -> str:
    """Mermaid, between the marks."""
    graph = grimp.build_graph(*SIDES, cache_dir=None)
    lines = [BEGIN, "```mermaid\n", "flowchart TB\n"]
    for side, title in SIDES.items():
        lines.append(f'  subgraph {side}["{title}"]\n')
        inside = {room for module, room in rooms(graph).items() if module.startswith(f"{side}.")}
        lines += [f'    {room}["{_label(room.removeprefix(f"{side}_"))}"]\n' for room in sorted(inside)]
        lines.append("  end\n")
    lines += [f"  {importer} --> {imported}\n" for importer, imported in essential(arrows(graph))]
    return "".join([*lines, "```\n", END])


def _label(name: str) -> str:
    return LABELS.get(name, name)


def main(arguments: list[str]) -> int:
    """Rewrite the page; with --check, only say whether it is what the code draws."""
    before = PAGE.read_text(encoding="utf-8")
    head, rest = before.split(BEGIN)
    after = head + picture() + rest.split(END)[1]
    if "--check" in arguments:
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
