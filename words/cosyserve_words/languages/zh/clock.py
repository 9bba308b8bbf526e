"""Times of day, durations, ratios and scores: what is written with a colon, and scores with a dash."""

import re

from cosyserve_words.language import Context
from cosyserve_words.languages.zh.around import after, before
from cosyserve_words.languages.zh.numbers import cardinal, quantity
from cosyserve_words.languages.zh.script import compiled, hanzi

_MATCHED = (
    "比分|总分|比数|领先|落后|战胜|击败|大胜|完胜|险胜|取胜|获胜|战平|打平|逼平|不敌|惜败|惨败|爆冷|逆转|横扫|打成|"
    "战成|定格|扳平|半场|主队|客队"
)
_SCORED = compiled(rf"(?:(?:{_MATCHED})[^，。；！？,;!?]{{0,8}}|[^负胜平输赢败][胜平输赢败][了给于]?\s?)$")
_SCORED_AFTER = compiled(rf"\s?(?:[^\d，。；！？,;!?]{{0,4}}(?:{_MATCHED})|[胜输赢败]|负于|战?平(?![均方米]))")
_PLAYED = compiled(
    r"(?:中国|日本|韩国|朝鲜|巴西|阿根廷|德国|法国|英格兰|西班牙|意大利|葡萄牙|荷兰|泰国|伊朗|澳大利亚|[队联城])\s?$"
)
_RATIO = compiled(r"(?:比例|配比|比率|比例尺|之比|按|以|兑|票数|赔率)[^，。；！？,;!?]{0,4}$")
_RATIO_AFTER = compiled(r"\s?的?(?:比例|比率|配比|模型|缩|稀释|兑|地图|沙盘|赔率)")
_LASTED = compiled(r"(?:时长|用时|耗时|历时|成绩|片长|全长|计时|倒计时|配速)[^，。；！？,;!?]{0,4}$")
_PART_OF_DAY = compiled(
    r"(?:上午|下午|早上|早晨|清晨|凌晨|中午|晚上|晚间|夜里|傍晚|午夜|今早|明早|今晚|明晚|昨晚|当晚)\s?$"
)
_MERIDIEM = r"(?:\s?(?P<half>[AaPp])\.?\s?[Mm](?![A-Za-z])\.?)"
_HALF_PAST = "30"


def _is_score(match: re.Match[str]) -> bool:
    return bool(_SCORED.search(before(match)) or _SCORED_AFTER.match(after(match)) or _PLAYED.search(before(match)))


def _time(match: re.Match[str], _context: Context) -> str | None:
    if _RATIO.search(before(match)) or _RATIO_AFTER.match(after(match)):
        return None
    if not match["second"] and not match["half"] and _is_score(match):
        return None
    if _LASTED.search(before(match)):
        return _duration(match)
    return _half_of_day(match) + _clock(
        match["hour"], match["minute"], match["second"], on_the_hour=after(match).startswith("整")
    )


def _clock(hour: str, minute: str, second: str | None, *, on_the_hour: bool) -> str:
    said = quantity(str(int(hour)), "点") + "点"
    if second is not None and not (minute == second == "00" and on_the_hour):
        return f"{said}{_padded(minute)}分{_padded(second)}秒"
    if minute == _HALF_PAST and int(hour) <= 12:
        return said + "半"
    return said + (f"{_padded(minute)}分" if minute != "00" else "")


def _padded(written: str) -> str:
    """`05` as 零五; `00` as 零."""
    return ("零" if written.startswith("0") and written != "00" else "") + cardinal(written)


def _half_of_day(match: re.Match[str]) -> str:
    half = match["half"]
    if not half or _PART_OF_DAY.search(before(match)):
        return ""
    names = ("凌晨", "中午") if int(match["hour"]) == 12 else ("上午", "下午")
    return names[half in "Pp"]


def _duration(match: re.Match[str]) -> str:
    parts = [match["hour"], match["minute"], match["second"]]
    units = ["小时", "分", "秒"] if match["second"] else ["分", "秒"]
    return "".join(quantity(str(int(part)), unit) + unit for part, unit in zip(parts, units, strict=False))


def _hour(match: re.Match[str], _context: Context) -> str:
    return _half_of_day(match) + quantity(match["hour"], "点") + "点"


def _ratio(match: re.Match[str], _context: Context) -> str:
    return "比".join(cardinal(number) for number in re.split(r"\s?[:：∶]\s?", match[0]))


def _score(match: re.Match[str], _context: Context) -> str | None:
    ours, theirs = match["ours"], match["theirs"]
    return f"{cardinal(ours)}比{cardinal(theirs)}" if _is_score(match) or ours == theirs == "0" else None


RULES = (
    hanzi(
        "time",
        rf"(?<![\d:：.])(?P<hour>[01]?\d|2[0-4])[:：](?P<minute>[0-5]\d)(?:[:：](?P<second>[0-5]\d)(?:\.\d+)?)?"
        rf"(?!\d|[:：]\d){_MERIDIEM}?",
        _time,
    ),
    hanzi("time", rf"(?<![\d:：.])(?P<hour>1[0-2]|0?[1-9]){_MERIDIEM}", _hour),
    hanzi("ratio", r"(?<![\d:：])\d+(?:\.\d+)?(?:\s?[:：∶]\s?\d+(?:\.\d+)?){1,5}", _ratio),
    hanzi("score", r"(?<![\d.\-])(?P<ours>\d{1,3})[-–—](?P<theirs>\d{1,3})(?![\d.]|-\d)", _score),
)
