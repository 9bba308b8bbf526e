"""Whose words a number takes where nobody has said the language: those of the words around."""

import pytest

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
