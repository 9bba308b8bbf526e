"""What Korean writes in its own way."""

import re
from collections.abc import Callable

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.ko.language import LANGUAGE
from cosyserve_words.languages.tables import table

_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
_NATIVE = (
    "시간|시(?![가-힣]*(?:즌|리즈))|개(?!월|국|년|소|최)|명|살|마리|권|장|잔|병|벌|켤레|그루|송이|채|척|자루|쌍|군데|가지|사람|그릇|조각|봉지|상자|줄|통|판|달(?!러)|"
    "곳|번째|번(?!출구|버스|국도|선|홈|지|길|방|호|역|트랙|타자|마을|대|\\s?(?:출구|버스|국도|홈|방|채널))|대(?!회|선|학|교|로|륙|통|응|비|역|출|표|기업)|스푼|방울|숟갈|모금|갑|캔|접시|박스|바퀴|걸음|팀"
)
_CODED = re.compile(
    r"(?:번호|코드|암호|전화|계좌|우편|내선|비밀|인증|주문|예약|학번|사번|아이디|핀|카드)[^0-9,.!?]{0,6}$"
)
_CURRENCIES = table("$=달러 US$=달러 €=유로 £=파운드 ¥=엔 ￥=엔 ₩=원")
_MONTHS = {6: "유", 10: "시"}
_ABOUT = {1: "한두", 2: "두세", 3: "서너", 4: "네다섯", 5: "대여섯"}
_MATCHED = re.compile(r"(?:스코어|경기|점수|결과)[^0-9,.]{0,6}$")
_MATCHED_AFTER = re.compile(r"\s?(?:으?로)?\s?(?:승|패|이겼|이기|졌|무승부|비겼|앞서|역전|완승)")
_SIGNS = table("+=더하기 ×=곱하기 ÷=나누기")
_CLOSED = "013678"
"""Figures whose names end in a consonant."""
_MOST_HOURS, _MOST_NATIVE_HOURS = 12, 20


def _said(written: str) -> str:
    number = written.replace(",", "")
    return LANGUAGE.decimal(number) if "." in number else LANGUAGE.cardinal(number)


def _counted(match: re.Match[str], _context: Context) -> str | None:
    number, counter = int(match["number"]), match["counter"]
    front = match.string[: match.start()]
    sino = (
        front.endswith("제")
        or (counter == "시" and number > _MOST_HOURS)
        or (counter == "시간" and number > _MOST_NATIVE_HOURS)
        or (counter == "대" and number >= 10 and number % 10 == 0)
    )
    if sino or number == 0:
        return f"{LANGUAGE.cardinal(match['number'])}{counter}"
    if counter == "번째" and number == 1:
        return "첫번째"
    return f"{LANGUAGE.native(number)}{counter}"


def _few(match: re.Match[str], _context: Context) -> str:
    """`2~3명`: two native numbers, which run together where they follow on each other."""
    first, last, counter = int(match["first"]), int(match["last"]), match["counter"]
    if last == first + 1 and first in _ABOUT:
        return f"{_ABOUT[first]} {counter}"
    return f"{LANGUAGE.native(first)}에서 {LANGUAGE.native(last)}{counter}"


def _month(match: re.Match[str], _context: Context) -> str:
    return _month_words(match["month"])


def _month_words(written: str) -> str:
    number = int(written)
    return f"{_MONTHS.get(number) or LANGUAGE.cardinal(str(number))}월"


def _date(match: re.Match[str], _context: Context) -> str:
    year, day = LANGUAGE.cardinal(match["year"]), LANGUAGE.cardinal(str(int(match["day"])))
    return f"{year}년 {_month_words(match['month'])} {day}일"


def _time(match: re.Match[str], _context: Context) -> str:
    hour = int(match["hour"])
    said = f"{LANGUAGE.native(hour) if 0 < hour <= _MOST_HOURS else LANGUAGE.cardinal(str(hour))}시"
    if int(match["minute"]) or match["second"]:
        said += f" {LANGUAGE.cardinal(str(int(match['minute'])))}분"
    return said + (f" {LANGUAGE.cardinal(str(int(match['second'])))}초" if match["second"] else "")


def _phone(match: re.Match[str], _context: Context) -> str:
    return ", ".join(LANGUAGE.digits(group) for group in re.split(r"[-)\s]+", match["number"].lstrip("(")) if group)


def _code(match: re.Match[str], context: Context) -> str | None:
    named = _CODED.search(match.string[: match.start()][-24:])
    follows = match.string[match.end() :][:1]
    return _phone(match, context) if named and follows not in set("개명원번회장") else None


def _money(match: re.Match[str], _context: Context) -> str:
    scale = match["scale"] or ""
    return f"{_said(match['number'])}{scale} {_CURRENCIES[match['sign']]}".replace(" 원", "원")


def _fraction(match: re.Match[str], _context: Context) -> str:
    return f"{LANGUAGE.cardinal(match['below'])}분의 {LANGUAGE.cardinal(match['above'])}"


def _degrees(match: re.Match[str], _context: Context) -> str:
    below = "영하 " if match["minus"] else ""
    return f"{below}{_said(match['number'])}도"


def _ten_thousand(_match: re.Match[str], _context: Context) -> str:
    """Nobody says the one of 10,000."""
    return "만"


def _ratio(match: re.Match[str], _context: Context) -> str:
    return f"{LANGUAGE.cardinal(match['ours'])} 대 {LANGUAGE.cardinal(match['theirs'])}"


def _score(match: re.Match[str], _context: Context) -> str | None:
    scored = _MATCHED.search(match.string[: match.start()][-24:]) or _MATCHED_AFTER.match(
        match.string[match.end() :][:8]
    )
    return " 대 ".join(LANGUAGE.cardinal(match[name]) for name in ("ours", "theirs")) if scored else None


def _range(match: re.Match[str], _context: Context) -> str:
    return f"{_said(match['first'])}에서 {_said(match['last'])}"


def _with(unit: str) -> Callable[[re.Match[str], Context], str]:
    return lambda match, _context: _said(match["number"]) + unit


def _operation(match: re.Match[str], _context: Context) -> str:
    if match["sign"] == "=":
        return "은 " if match.string[: match.start()][-1] in _CLOSED else "는 "
    return f" {_SIGNS[match['sign']]} "


RULES: tuple[Rule, ...] = (
    rule(
        "phone",
        r"(?<![0-9-])(?P<number>(?:\(?0[0-9]{1,2}\)?[-\s]?|15[0-9]{2}-)[0-9]{3,4}(?:-[0-9]{4})?)(?![0-9-])",
        _phone,
        first="0-9(",
    ),
    rule("code", r"(?<![0-9.,-])(?P<number>[0-9]{3,40}(?:-[0-9]{1,20}){0,7})(?![.,]?[0-9])", _code),
    rule(
        "date",
        r"(?<![0-9])(?P<year>(?:19|20)[0-9]{2})(?P<sep>[-/.])\s?(?P<month>1[0-2]|0?[1-9])(?P=sep)\s?(?P<day>3[01]|[12][0-9]|0?[1-9])\.?(?![0-9])",
        _date,
    ),
    rule("date", r"(?<![0-9])(?P<month>1[0-2]|0?[1-9])월", _month),
    rule(
        "time",
        r"(?<![0-9:])(?P<hour>[01]?[0-9]|2[0-4]):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]))?(?![0-9:])",
        _time,
    ),
    rule("ratio", r"(?<![0-9])(?P<ours>[0-9]{1,3})\s?대\s?(?P<theirs>[0-9]{1,3})(?![0-9])", _ratio),
    rule("number", r"(?<![0-9.,])1만", _ten_thousand),
    rule("range", rf"(?<![0-9.,])(?P<first>[0-9]{{1,2}})[~-](?P<last>[0-9]{{1,2}})\s?(?P<counter>{_NATIVE})", _few),
    rule("number", rf"(?<![0-9.,])(?P<number>[0-9]{{1,2}})\s?(?P<counter>{_NATIVE})", _counted),
    rule("score", r"(?<![0-9-])(?P<ours>[0-9]{1,3})[-:](?P<theirs>[0-9]{1,3})(?![0-9-])", _score),
    rule("fraction", r"(?<![0-9/])(?P<above>[0-9]{1,3})/(?P<below>[0-9]{1,3})(?![0-9/])", _fraction),
    rule(
        "money",
        rf"(?P<sign>US\$|[$€£¥￥₩])\s?(?P<number>{_NUMBER})(?P<scale>[만억조천백]+)?",
        _money,
        first="$€£¥￥₩U",
        hint=r"(?:US\$|[$€£¥￥₩])\s?[0-9]",
    ),
    rule("percent", rf"(?P<number>{_NUMBER})\s?%", _with("퍼센트")),
    rule("temperature", rf"(?P<minus>(?<![0-9])-)?(?P<number>{_NUMBER})\s?(?:°C|℃|°)", _degrees, first="0-9\\-"),
    rule("range", rf"(?<![0-9.,])(?P<first>{_NUMBER})\s?[~〜～]\s?(?P<last>{_NUMBER})(?![0-9])", _range),
    rule(
        "formula",
        r"(?<=[0-9)])\s?(?P<sign>[+×÷=])\s?(?=[0-9(])",
        _operation,
        first=" +×÷=",
        hint=r"(?<=[0-9)])\s?[+×÷=]",
    ),
)
