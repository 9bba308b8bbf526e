"""Amounts of units, temperatures, and what is so much a piece."""

import re

from cosyserve_words.language import Context
from cosyserve_words.languages.zh.around import after, before
from cosyserve_words.languages.zh.numbers import DASH, NUMBER, SCALE, cardinal, quantity, scaled
from cosyserve_words.languages.zh.script import compiled, hanzi
from cosyserve_words.languages.zh.units import SIGN, UNITS, unit_words

_DEGREES = r"(?:°\s?C|℃|°\s?F|℉|°|º|度(?![假过量])|摄氏度|华氏度)"
_WEATHER = compiled(
    r"(?:[气体室水地高低均外内]温|温度|零下|冷|热|寒|冰|降[至到温]|升[至到温]|天气|夜间|白天|早晚|山区|冻)"
    r"[^。；！？;!?]{0,16}$"
)
_ALREADY_BELOW = compiled(r"(?:零下|负)\s?$")
_LASTED = compiled(r"(?:配速|用时|耗时|成绩|时长)[^，。；！？,;!?]{0,4}$")
_EARNED = compiled(
    r"(?:薪|工资|收入|预算|粉丝|播放|阅读|销量|赚|存款|首付|房价|身价|投资|奖金|约|近|卖)[^，。；！？,;!?]{0,6}$"
)
_NETWORK = compiled(r"\s?(?:网络?|手机|基站|信号|时代|通信|套餐|商用|芯片|技术|[+用])")
_DEGREE_NAMES = {"C": "摄氏度", "℃": "摄氏度", "F": "华氏度", "℉": "华氏度"}
_CODES_OF_UNITS = frozenset({"m", "g", "s", "t", "h", "L", "N", "V", "W", "J", "M"})
_MINUS = {"": "", "-": "负", "±": "正负"}
_NAME_BEFORE = re.compile(r"[A-Za-z]\s?$")


def _measure(match: re.Match[str], _context: Context) -> str | None:
    unit = match["unit"]
    if _is_name(match, unit):
        return None
    front, name = ("", "万") if unit == "W" and _EARNED.search(before(match)) else unit_words(unit)
    minus, follows = _MINUS[match["sign"] or ""], name + after(match)
    said = scaled(match["number"], match["scale"] or "", follows)
    if match["last"]:
        said += "到" + scaled(match["last"], match["scale2"] or "", follows)
    return f"{front}{minus}{said}{match['more'] or ''}{name}"


def _is_name(match: re.Match[str], unit: str) -> bool:
    """Whether a short unit is rather a letter of a name: `iPhone 6s`, `5g网络`."""
    if unit in _CODES_OF_UNITS and _NAME_BEFORE.search(before(match)):
        return True
    return unit == "g" and match["number"] in {"2", "3", "4", "5", "6"} and bool(_NETWORK.match(after(match)))


def _temperature(match: re.Match[str], _context: Context) -> str:
    name = _name_of_degrees(match["unit"])
    first = _degrees(match["sign"], match["first"], match, name)
    if not match["last"]:
        return first + name
    between = _name_of_degrees(match["unit1"]) if match["unit1"] and match["unit1"] != match["unit"] else ""
    return f"{first}{between}到{_degrees(match['sign2'], match['last'], match, name)}{name}"


def _name_of_degrees(written: str) -> str:
    return next(
        (name for end, name in _DEGREE_NAMES.items() if written.endswith(end)),
        written.replace("°", "度").replace("º", "度"),
    )


def _degrees(sign: str | None, number: str, match: re.Match[str], name: str) -> str:
    front = before(match)
    if sign == "-":
        below = "" if _ALREADY_BELOW.search(front) else "零下" if _WEATHER.search(front) else "负"
        return below + quantity(number, name)
    return {"+": "零上", "±": "正负"}.get(sign or "", "") + quantity(number, name)


def _pace(match: re.Match[str], _context: Context) -> str:
    """`5'30"` lasts where the words before say so, else it is a length."""
    large, small = ("分", "秒") if _LASTED.search(before(match)) else ("英尺", "英寸")
    return f"{quantity(match['large'], large)}{large}{quantity(match['small'], small)}{small}"


def _charger(match: re.Match[str], _context: Context) -> str:
    return f"{quantity(match['volts'])}伏{quantity(match['amperes'])}安"


def _area(match: re.Match[str], _context: Context) -> str:
    """`10x20cm`: one unit for all sides."""
    sides = re.split(r"\s?[x×*X]\s?", match["sides"])
    unit = match["unit"]
    return "乘".join(cardinal(side) for side in sides) + (unit_words(unit)[1] if unit else "")


def _each(match: re.Match[str], _context: Context) -> str:
    return "每" + UNITS.get(match["unit"], match["unit"])


_SIDE = r"\d+(?:\.\d+)?"
RULES = (
    hanzi(
        "temperature",
        rf"(?<![A-Za-z\d])(?P<sign>[-+±](?=\d))?(?P<first>\d+(?:\.\d+)?)\s?(?P<unit1>{_DEGREES})?\s?{DASH}\s?"
        rf"(?P<sign2>[-+](?=\d))?(?P<last>\d+(?:\.\d+)?)\s?(?P<unit>{_DEGREES})(?![A-Za-z])",
        _temperature,
        first="0-9+±\\-",
    ),
    hanzi(
        "temperature",
        rf"(?<!\d)(?:(?<![A-Za-z])(?P<sign>[-+±])(?=\d))?(?P<first>\d+(?:\.\d+)?)\s?(?P<unit>{_DEGREES})(?![A-Za-z])(?P<last>)",
        _temperature,
        first="0-9+±\\-",
    ),
    hanzi("measure", r"(?<!\d)(?P<large>\d{1,2})['′’](?P<small>\d{1,2})[\"″”]", _pace),
    hanzi("measure", rf"(?P<volts>{_SIDE})V[/\s]?(?P<amperes>{_SIDE})A(?![A-Za-z\d])", _charger),
    hanzi("measure", rf"(?P<sides>{_SIDE}(?:\s?[x×*X]\s?{_SIDE}){{1,2}})\s?(?P<unit>{SIGN})?(?![A-Za-z\d])", _area),
    hanzi(
        "measure",
        rf"(?<![A-Za-z])(?P<sign>(?<!\d)[-±](?=\d))?(?P<number>{NUMBER})\s?(?P<scale>{SCALE})?(?:\s?{DASH}\s?"
        rf"(?P<last>{NUMBER})\s?(?P<scale2>{SCALE})?)?(?P<more>[多余来])?"
        rf"\s?(?P<unit>{SIGN}(?:\s?/\s?{SIGN})?)(?![A-Za-z\d²³])",
        _measure,
        first="0-9±\\-",
    ),
    hanzi(
        "measure",
        rf"(?<=[元块角分万亿升次克里米转人点位度件个粒片滴美镑卡兆])\s?/\s?(?P<unit>{SIGN}(?![A-Za-z\d])"
        rf"|立方米|平方米|平方|平米|公里|千米|公斤|千克|毫升|小时|分钟|秒|美元|欧元|英镑|日元|港元|人民币|"
        r"[斤个件米天日月年季时分人次只平股张台晚间位周瓶份桶吨升度盒袋条支班课节套盏亩克粒片组队户车桌床轮届册页字卷杯碗层场集棵辆])",
        _each,
        first="/ ",
    ),
)
