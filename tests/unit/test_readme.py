"""README in two languages says the same, and what it points to is there."""

import re
from pathlib import Path

import pytest

from tests.serving import ROOT

ENGLISH = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = sorted({ENGLISH, CHINESE, *ROOT.glob("*.md"), *ROOT.glob("d*/*.md"), *ROOT.glob("benchmarks/*.md")})


def prose(document: Path) -> str:
    """Without blocks of code."""
    return FENCE.sub("", document.read_text(encoding="utf-8"))


def shape(document: Path) -> list[str]:
    """Headings' levels, tables' rows by their number of cells, and points of lists, in their order."""
    lines = []
    for line in prose(document).splitlines():
        if heading := re.match(r"#+(?= )", line):
            lines.append(heading[0])
        elif line.startswith("|"):
            lines.append(f"row of {len(re.findall(r'(?<!`)[|](?!`)', line)) - 1}")
        elif line.startswith("- "):
            lines.append("point")
    return lines


def links(document: Path) -> list[str]:
    """Where it leads, and the pictures, without addresses of elsewhere."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(document))
    return [link for link in found if "://" not in link]


def anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    plain = [re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def test_both_languages_have_the_same_parts() -> None:
    assert shape(CHINESE) == shape(ENGLISH)


def test_both_languages_have_the_same_commands() -> None:
    blocks = [FENCE.findall(document.read_text(encoding="utf-8")) for document in (ENGLISH, CHINESE)]
    assert blocks[0] == blocks[1]
    assert blocks[0]


def test_both_languages_lead_to_the_same_places() -> None:
    other = {"README.md": "README.zh-CN.md"}
    english, chinese = ([other.get(link, link) for link in links(document)] for document in (ENGLISH, CHINESE))
    assert sorted(chinese) == sorted(english)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_what_a_document_points_to_is_there(document: Path) -> None:
    for link in links(document):
        place, _, anchor = link.partition("#")
        target = (document.parent / place) if place else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link
