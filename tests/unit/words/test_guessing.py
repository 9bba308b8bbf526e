"""Whose words a number takes where nobody has said the language: those of the words around."""

import pytest
from num2words import CONVERTER_CLASSES

from cosyserve_words.reading import read
from cosyserve_words.spans import Options


def said(text: str, language: str = "", default: str = "zh") -> str:
    return read(text, Options(language, default)).text


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("10 Äpfel und 25 Birnen", "zehn Äpfel und fünfundzwanzig Birnen"),
        ("Il y a 25 élèves dans la classe", "Il y a vingt-cinq élèves dans la classe"),
        ("Hay 25 niños en la casa", "Hay veinticinco niños en la casa"),
        ("Ci sono 25 studenti nella scuola", "Ci sono venticinque studenti nella scuola"),
        ("Não há 25 alunos na escola", "Não há vinte e cinco alunos na escola"),
        ("Было 25 человек", "Было двадцать пять человек"),
        ("Було 25 дітей і 3 собаки", "Було двадцять п'ять дітей і три собаки"),
        ("我哋有2個", "我哋有兩個"),
        ("りんごを2個ください", "りんごを二個ください"),
        ("사과 2개", "사과 두개"),
        ("我有2个", "我有两个"),
    ],
)
def test_the_words_around_tell_the_language(written: str, spoken: str) -> None:
    assert said(written) == spoken


@pytest.mark.parametrize("default", ["zh", "de", "en"])
@pytest.mark.parametrize("written", ["No, I do not have 5 of them.", "As a man of 5 said", "The die is cast at 5"])
def test_english_is_no_other_language(written: str, default: str) -> None:
    assert "five" in said(written, default=default)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("团队有 6 members", "团队有 six members"),
        ("50kg", "五十千克"),
        ("5G网络", "五G网络"),
        ("8:00 a.m.准时开会", "上午八点准时开会"),
        ("我买了iPhone 15", "我买了iPhone 十五"),
        ("x>5", "x大于五"),
    ],
)
def test_units_and_letters_tell_nothing(written: str, spoken: str) -> None:
    assert said(written) == spoken


@pytest.mark.parametrize("code", sorted({*CONVERTER_CLASSES, "kk", "nb", "zh", "yue"}))
def test_no_language_of_num2words_leaves_figures(code: str) -> None:
    tag = code.replace("_", "-")
    for written in ("25", "3.5", "3,5", "50 %", "0592", "-5", "12:30", "2024-05-06", "12,50 €", "5 kg", "3-5", "1 000"):
        spoken = said(written, tag, default=tag)
        assert spoken
        assert not any(char in "0123456789%€" for char in spoken), (written, spoken)


def test_what_num2words_does_not_know_stays() -> None:
    assert said("Mti 25 mzuri", "xx", default="xx") == "Mti 25 mzuri"
