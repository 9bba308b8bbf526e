"""How much of two public suites of text normalisation is read as they expect.

`python -m benchmarks.words --wetext CHECKOUT --nemo CHECKOUT`. Nothing of theirs is in this tree.
"""

import argparse
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cosyserve_words.reading import read
from cosyserve_words.spans import Options

LEFT_OUT = frozenset({"char", "preprocessor", "postprocessor", "normalizer_tag_oov", "normalize_with_audio"})
"""They test a suite's own machinery: marks of oral speech, folding, tags, several right answers beside a recording."""
BEFORE = {"zh": "我说", "en": "We say "}
"""What a case without letters of its language stands behind."""
LETTERS = {"zh": re.compile("[\u4e00-\u9fff]"), "en": re.compile("[A-Za-z]")}
SAME = str.maketrans("幺两〇", "一二零")


@dataclass(frozen=True, slots=True)
class Case:
    """One line of a suite."""

    suite: str
    kind: str
    language: str
    written: str
    expected: str


def cases(wetext: Path | None, nemo: Path | None) -> Iterator[Case]:
    """All that can be read in these checkouts."""
    if wetext:
        for language, code in (("chinese", "zh"), ("english", "en")):
            folder = wetext / "tn" / language / "test" / "data"
            yield from _files(folder, f"WeText {language}", code, "", "=>")
    if nemo:
        for code, name in (("zh", "chinese"), ("en", "english")):
            folder = nemo / "tests" / "nemo_text_processing" / code / "data_text_normalization"
            yield from _files(folder, f"NeMo {name}", code, "test_cases_", "~")


def _files(folder: Path, suite: str, language: str, prefix: str, between: str) -> Iterator[Case]:
    if not folder.is_dir():
        sys.exit(f"{folder} is not there: give the folder of a checkout")
    for path in sorted(folder.glob(f"{prefix}*.txt")):
        kind = path.stem.removeprefix(prefix)
        if kind in LEFT_OUT:
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            written, found, expected = line.partition(between)
            if found and written.strip():
                yield Case(suite, kind, language, written.strip(), expected.strip())


def said(case: Case) -> str:
    """What we say of it."""
    before = "" if LETTERS[case.language].search(case.written) else BEFORE[case.language]
    text = read(before + case.written, Options(language=case.language)).text
    return text.removeprefix(before.strip()) if before else text


def plain(text: str) -> str:
    """What two readings are compared by: without case, punctuation, blanks and what are two words for one thing."""
    text = unicodedata.normalize("NFKC", text).lower().translate(SAME)
    text = re.sub(r"\boh\b", "zero", re.sub(r"\band\b", " ", text))
    return "".join(char for char in text if unicodedata.category(char)[0] not in "PSZC")


def report(found: list[Case], reader: Callable[[Case], str], *, show: bool) -> None:
    """A line for each kind, and one for each suite."""
    right: Counter[tuple[str, str]] = Counter()
    every: Counter[tuple[str, str]] = Counter()
    for case in found:
        spoken = reader(case)
        agrees = plain(spoken) == plain(case.expected)
        for key in ((case.suite, case.kind), (case.suite, "all"), ("both", "all")):
            every[key] += 1
            right[key] += agrees
        if show and not agrees:
            print(
                f"{case.suite} {case.kind}\n  written  {case.written}\n  expected {case.expected}\n  said     {spoken}"
            )
    print("| suite | kind | as expected | of |  |\n|---|---|---|---|---|")
    for key in sorted(every):
        print(f"| {key[0]} | {key[1]} | {right[key]} | {every[key]} | {100 * right[key] / every[key]:.1f} % |")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wetext", type=Path, help="a checkout of WeTextProcessing")
    parser.add_argument("--nemo", type=Path, help="a checkout of NeMo-text-processing")
    parser.add_argument("--show", action="store_true", help="each case that is read otherwise")
    parser.add_argument("--only", default="", help="suites that begin so: 'NeMo english'")
    arguments = parser.parse_args()
    if not (arguments.wetext or arguments.nemo):
        parser.error("give --wetext CHECKOUT, --nemo CHECKOUT or both")
    found = [case for case in cases(arguments.wetext, arguments.nemo) if case.suite.startswith(arguments.only)]
    report(found, said, show=arguments.show)


if __name__ == "__main__":
    main()
