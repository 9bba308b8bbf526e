"""What Japanese writes in its own way."""

import re
from functools import cache

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.other import names
from cosyserve_words.languages.tables import table

_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
_CODED = re.compile(
    r"(?:番号|コード|暗証|パスワード|ＩＤ|ID|口座|内線|電話|携帯|郵便|会員|注文|予約|追跡|社員|学籍|型番|号機|便名|局番)[^0-9、。!?！？]{0,6}$"
)
_MATCHED = re.compile(r"(?:スコア|試合|対戦|得点|結果|勝利?|敗北?|リード|先制)[^0-9、。]{0,6}$")
_MATCHED_AFTER = re.compile(r"\s?(?:で|の)?(?:勝|敗|負|引き分け|リード|逆転|快勝|完勝|辛勝|惜敗|同点)")
_CURRENCIES = table("$=ドル €=ユーロ £=ポンド ¥=円 ￥=円 ₩=ウォン US$=ドル")
_SIGNS = table("+=たす ×=かける ÷=わる ==は ±=プラスマイナス")
_COUNTED = re.compile(r"[つ個本枚人日回年時分秒円台冊匹歳才番度]")


def _said(written: str, context: Context) -> str:
    number = written.replace(",", "")
    return context.language.decimal(number) if "." in number else context.language.cardinal(number)


def _date(match: re.Match[str], context: Context) -> str:
    parts = (context.language.cardinal(str(int(match[name]))) for name in ("year", "month", "day"))
    return "{}年{}月{}日".format(*parts)


def _time(match: re.Match[str], context: Context) -> str:
    said = f"{context.language.cardinal(str(int(match['hour'])))}時"
    if int(match["minute"]) or match["second"]:
        said += f"{context.language.cardinal(str(int(match['minute'])))}分"
    return said + (f"{context.language.cardinal(str(int(match['second'])))}秒" if match["second"] else "")


def _phone(match: re.Match[str], context: Context) -> str:
    return "の".join(context.language.digits(group) for group in re.split(r"[-()（）\s]+", match["number"]) if group)


def _code(match: re.Match[str], context: Context) -> str | None:
    named = _CODED.search(match.string[: match.start()][-24:])
    follows = match.string[match.end() :][:1]
    return _phone(match, context) if named and not _COUNTED.match(follows) else None


def _lot(match: re.Match[str], context: Context) -> str:
    """An address: `1-2-3`."""
    return "の".join(context.language.cardinal(part) for part in match[0].split("-"))


def _score(match: re.Match[str], context: Context) -> str | None:
    scored = _MATCHED.search(match.string[: match.start()][-24:]) or _MATCHED_AFTER.match(
        match.string[match.end() :][:8]
    )
    return "対".join(context.language.cardinal(part) for part in (match["ours"], match["theirs"])) if scored else None


def _fraction(match: re.Match[str], context: Context) -> str:
    return f"{context.language.cardinal(match['below'])}分の{context.language.cardinal(match['above'])}"


def _money(match: re.Match[str], context: Context) -> str:
    return f"{_said(match['number'], context)}{match['scale'] or ''}{_CURRENCIES[match['sign']]}"


def _degrees(match: re.Match[str], context: Context) -> str:
    return ("マイナス" if match["minus"] else "") + f"{_said(match['number'], context)}度"


@cache
def _unit(sign: str) -> str:
    return names.unit(sign, "5", "ja").replace(" ", "")


def _measure(match: re.Match[str], context: Context) -> str:
    minus = "マイナス" if match["minus"] else ""
    said = minus + _said(match["number"], context)
    if match["last"]:
        said += "から" + _said(match["last"], context)
    unit = _unit(match["unit"])
    if match.string[: match.start()].endswith("時速"):
        unit = unit.removeprefix("時速")
    return unit.replace("{}", said)


def _range(match: re.Match[str], context: Context) -> str:
    return f"{_said(match['first'], context)}から{_said(match['last'], context)}"


def _between(_match: re.Match[str], _context: Context) -> str:
    return "から"


def _operation(match: re.Match[str], _context: Context) -> str:
    return _SIGNS[match["sign"]]


_UNITS = "|".join(re.escape(sign) for sign in names.unit_signs("ja") if sign not in {"°C", "℃", "A", "t", "s", "h"})
RULES: tuple[Rule, ...] = (
    rule(
        "phone", r"(?<![0-9-])(?P<number>[(（]?0[0-9]{1,4}[)）-][0-9]{1,4}-[0-9]{3,4})(?![0-9-])", _phone, first="0(（"
    ),
    rule(
        "code",
        r"(?<![0-9-])(?:〒\s?)(?P<number>[0-9]{3}-[0-9]{4})(?![0-9-])",
        lambda match, context: "郵便番号" + _phone(match, context),
        first="〒",
    ),
    rule("code", r"(?<![0-9.,-])(?P<number>[0-9]{3,40}(?:-[0-9]{1,20}){0,7})(?![.,]?[0-9])", _code),
    rule(
        "date",
        r"(?<![0-9])(?P<year>(?:19|20)[0-9]{2})(?P<sep>[-/.])(?P<month>1[0-2]|0?[1-9])(?P=sep)(?P<day>3[01]|[12][0-9]|0?[1-9])(?![0-9])",
        _date,
    ),
    rule(
        "time",
        r"(?<![0-9:：])(?P<hour>[01]?[0-9]|2[0-9])[:：](?P<minute>[0-5][0-9])(?:[:：](?P<second>[0-5][0-9]))?(?![0-9:：])",
        _time,
    ),
    rule("score", r"(?<![0-9-])(?P<ours>[0-9]{1,3})[-－ー](?P<theirs>[0-9]{1,3})(?![0-9-])", _score),
    rule("code", r"(?<![0-9-])[0-9]{1,4}(?:-[0-9]{1,4}){2,3}(?![0-9-])", _lot),
    rule("fraction", r"(?<![0-9/])(?P<above>[0-9]{1,3})/(?P<below>[0-9]{1,3})(?![0-9/])", _fraction),
    rule(
        "money",
        rf"(?P<sign>US\$|[$€£¥￥₩])\s?(?P<number>{_NUMBER})(?P<scale>[万億兆千百]+)?",
        _money,
        first="$€£¥￥₩U",
        hint=r"(?:US\$|[$€£¥￥₩])\s?[0-9]",
    ),
    rule("temperature", rf"(?P<minus>(?<![0-9])[-−])?(?P<number>{_NUMBER})\s?(?:°C|℃)", _degrees, first="0-9\\-−"),
    rule(
        "measure",
        rf"(?P<minus>(?<![0-9A-Za-z])-)?(?P<number>{_NUMBER})(?:[-~〜～](?P<last>{_NUMBER}))?\s?(?P<unit>{_UNITS})(?![A-Za-z0-9²³])",
        _measure,
        first="0-9\\-",
    ),
    rule("range", rf"(?<![0-9.,])(?P<first>{_NUMBER})\s?[~〜～]\s?(?P<last>{_NUMBER})(?![0-9])", _range),
    rule("range", r"(?<=[0-9月日時分年円歳人回個度%曜])[-~〜～](?=[0-9月火水木金土日])", _between, first="\\-~〜～"),
    rule(
        "formula",
        r"(?<=[0-9)）])\s?(?P<sign>[+×÷=])\s?(?=[0-9(（])",
        _operation,
        first=" +×÷=",
        hint=r"(?<=[0-9)）])\s?[+×÷=]",
    ),
)
