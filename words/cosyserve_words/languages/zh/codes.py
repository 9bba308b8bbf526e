"""Figures that name something: phones, codes by the words around them, identity cards, plates, trains, versions."""

import re

from cosyserve_words.language import Context
from cosyserve_words.languages.zh.around import after, before
from cosyserve_words.languages.zh.numbers import figures, is_counted
from cosyserve_words.languages.zh.script import compiled, hanzi

_NAMES_OF_CODES = (
    "验证码|校验码|动态码|激活码|邀请码|取件码|取货码|提货码|兑换码|识别码|条形码|条码|序列码|代码|编码|密码|口令|"
    "尾号|[末后][三四五六]位数?|卡号|帐号|账号|账户|帐户|订单|订单号|订单编号|运单|运单号|快递|单号|流水号|编号|"
    "工号|学号|车牌|车号|房号|房间号|门牌号?|航班号?|航班|车次|邮编|邮政编码|身份证|证件号|护照号?|QQ群?号?|"
    "微信号?|电话|手机|座机|传真|热线|号码|分机|内线|区号|号段|[前以]缀|序列号|批号|准考证号?|会员号|客服|病历号|"
    "工单号?|案号|群号|ISBN|ID|UID|PIN|SN|IMEI|股票代码|基金代码|机号|柜号|箱号|票号|卡片?|频率|呼号|端口|代号|型号|"
    "房间|档案号|登记号|许可证号?|统一社会信用代码|快递单"
)
_LINK = (
    r"(?:[\s:：=#“「（(是为即叫有在我你他她您就已请改成了係系嘅]|"
    r"您的|我的|们的|应该|输入|回复|发送|变更|设置|修改|更新|重置|拨打|[拨打]|[末后尾][三四五六]位|尾号|号码?|NO\.?"
    r")"
)
_NAMED = compiled(rf"(?:{_NAMES_OF_CODES}){_LINK}{{0,8}}(?:[A-Za-z]{{1,4}}[-\s]?)?$", cased=False)
_SECOND = compiled(rf"(?:{_NAMES_OF_CODES}){_LINK}{{0,8}}[\d\s-]{{3,12}}[、,，和或与及/\s]\s?$", cased=False)
_DIALLED_BEFORE = compiled(
    r"(?:发送?\S{0,6}到|(?:[拨打]|致电|热线|电话|手机|客服|报警|短信|呼叫|联系|传真|座机|分机|内线|转|号码|联络)"
    r"[^\d，。；！？;!?\n]{0,6})$"
)
_DIALLED_AFTER = compiled(
    r"\s?(?:打[个了]?电话|报警|急救|火警|热线|客服|短信|电话|救护车|消防|平台|服务台|投诉|拨打|求助|中心|网站|官网|查号台)"
)
_SHORT_NUMBERS = r"(?:11[0-9]|12[0-2]|95\d{3,4}|96\d{3,4}|12[0-9]{3}|100\d{2}|11[0-9]{3}|106\d{5,9})"
_COUNTED_CODE = compiled(
    r"\s?(?:次|遍|个|位|元|块|天|小时|分钟|秒|年|月|人|条|张|部|台|万|亿|级|份|单|笔|多|件|折|岁|米|公里|[kK]m|MHz|kHz|GHz|兆赫|千赫|赫兹|%|％)"
)
_FEWEST_FIGURES = 3
_IDENTITY = (6, 8, 4)
_BANK_CARD = 4


def _grouped(digits: str, sizes: tuple[int, ...], one: str) -> str:
    """Groups as they are told over the telephone; the pause between two is a comma."""
    groups, start = [], 0
    for size in sizes:
        groups.append(digits[start : start + size])
        start += size
    return "，".join(figures(group, one=one) for group in [*groups, digits[start:]] if group)


def _as_written(written: str, one: str) -> str:
    """The groups that the writer made."""
    groups = [group for group in re.split(r"[-\s()（）]+", written) if group]
    return ("，" if max(map(len, groups)) > 1 else "").join(figures(group, one=one) for group in groups)


def _mobile(match: re.Match[str], _context: Context) -> str:
    digits = re.sub(r"[-\s]", "", match["number"])
    return _country(match) + _grouped(digits, (3, 4, 4), "幺")


def _landline(match: re.Match[str], _context: Context) -> str:
    number, extension = match["number"], match["extension"]
    together = number.isdecimal() and number[0] in "48"
    said = _grouped(number, (3, 3), "幺") if together else _as_written(number, "幺")
    return _country(match) + said + (f"，转{figures(extension, one='幺')}" if extension else "")


def _country(match: re.Match[str]) -> str:
    return f"加{figures(match['country'])}，" if match["country"] else ""


def _abroad(match: re.Match[str], _context: Context) -> str | None:
    """What begins with a plus is a telephone number from seven figures on."""
    enough = sum(character.isdigit() for character in match["number"]) >= 7
    return f"加{figures(match['country'])}，{_as_written(match['number'], '幺')}" if enough else None


def _short_number(match: re.Match[str], _context: Context) -> str | None:
    dialled = _DIALLED_BEFORE.search(before(match)) or _DIALLED_AFTER.match(after(match))
    return figures(match[0], one="幺") if dialled else None


def _identity_card(match: re.Match[str], _context: Context) -> str:
    return _grouped(match[0], _IDENTITY, "幺")


def _bank_card(match: re.Match[str], _context: Context) -> str:
    return _as_written(match[0], "幺")


def _code(match: re.Match[str], _context: Context) -> str | None:
    written, front, follows = match[0], before(match), after(match)
    if sum(character.isdigit() for character in written) < _FEWEST_FIGURES and not re.search(
        r"[尾末后]\S{0,3}$|^0", front
    ):
        return None
    if _COUNTED_CODE.match(follows) or (is_counted(follows) and not follows.startswith(" ")):
        return None
    dialled = _DIALLED_BEFORE.search(front)
    if not (_NAMED.search(front) or _SECOND.search(front) or (dialled and "-" in written)):
        return None
    one = "幺" if dialled else "一"
    return _as_written(written, one)


def _plate(match: re.Match[str], _context: Context) -> str:
    return match["area"] + figures(match["number"], one="幺")


def _train(match: re.Match[str], _context: Context) -> str:
    return match["kind"] + figures(match["number"], one="幺")


def _business(match: re.Match[str], _context: Context) -> str:
    return " to ".join(match[0].split("2"))


def _chatted(match: re.Match[str], _context: Context) -> str | None:
    """What chats write for its sound, first in its sentence: `666`."""
    return figures(match[0]) if not before(match).strip() or _SENTENCE_START.search(before(match)) else None


def _schools(match: re.Match[str], _context: Context) -> str:
    """The two lists of Chinese universities, by their numbers."""
    return "、".join(figures(number) for number in re.findall(r"\d+", match[0]))


def _named_day(match: re.Match[str], _context: Context) -> str:
    return figures("".join(character for character in match[0] if character.isdigit()))


_SENTENCE_START = re.compile(r"[。！？!?~～]\s?$")
_SCHOOLS = "(?:大学|毕业|[高院]校|双一流|硕士|博士|本科|的?学生)"
_COUNTRY = r"(?:\+\s?(?P<country>\d{1,3})[-\s]?)?"
_FREE = r"(?<![\d.,A-Za-z])"
RULES = (
    hanzi(
        "code", r"(?<!\d)(?:666+|888+|2333*|52[01]|1314|886?)(?=[，。！？~～,!?](?!\s?\d)|$|我爱你|一生一世)", _chatted
    ),
    hanzi("code", rf"(?<!\d)(?:985\s?/\s?211|(?:985|211)(?=\s?{_SCHOOLS}))(?!\d)", _schools),
    hanzi(
        "phone",
        r"(?<![\d.,A-Za-z])(?:\+?(?P<country>86)[-\s]?)?(?P<number>1[3-9]\d[-\s]?\d{4}[-\s]?\d{4})(?![\d.])",
        _mobile,
        first="0-9+",
    ),
    hanzi(
        "code",
        r"(?<!\d)[1-9]\d{5}(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![\dA-Za-z])",
        _identity_card,
    ),
    hanzi("code", r"(?<![\d-])\d{4}(?:[ -]\d{4}){2,4}(?:[ -]\d{1,3})?(?![\d-])", _bank_card),
    hanzi(
        "phone",
        rf"(?<![\d.,A-Za-z-]){_COUNTRY}"
        rf"(?P<number>[（(]?0\d{{2,3}}[)）]?[-\s]?\d{{3,4}}[-\s]?\d{{4}}|[48]00[-\s]\d{{3,4}}[-\s]?\d{{3,4}}|[48]00\d{{7}}|86-\d{{2,3}}-\d{{7,8}})(?![\d.])"
        r"(?:\s?(?:转|-|#)\s?(?P<extension>\d{1,6})(?!\d))?",
        _landline,
        first="0-9+（(",
    ),
    hanzi(
        "phone",
        r"\+\s?(?P<country>\d{1,3})[-\s]?(?P<number>\d{1,4}(?:[-\s]?\d{2,4}){1,4})(?![\d.])(?P<extension>)",
        _abroad,
        first="+",
    ),
    hanzi("phone", rf"(?<![\d.,A-Za-z-]){_SHORT_NUMBERS}(?![\d.,%]\d|[\d%])", _short_number),
    hanzi(
        "plate",
        r"(?P<area>[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使][A-Z])[·•\s]?"
        r"(?P<number>[A-Z0-9]{4,6}[A-Z0-9挂学警港澳领])(?![A-Za-z0-9])",
        _plate,
        first="京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使",
        hint=r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使][A-Z][·•\s]?[A-Z0-9]",
    ),
    hanzi(
        "code",
        r"(?<![A-Za-z])(?P<kind>[GDCKTZSYL])(?P<number>\d{1,4})(?=\s?(?:次|列车|动车|高铁))",
        _train,
        first="GDCKTZSYL",
        hint=r"[GDCKTZSYL]\d",
    ),
    hanzi(
        "name",
        r"(?<![A-Za-z\d])[BCOPG](?:2[BCOPGM]){1,2}(?![A-Za-z\d])",
        _business,
        first="BCOPG",
        hint="[BCOPG]2",
    ),
    hanzi("code", r"(?<![\d.,])\d{1,40}(?:[-\s]\d{1,20}){0,7}(?![.,]?\d|[A-Za-z])", _code),
    hanzi(
        "date",
        r"(?<![\d.A-Za-z])(?:9[./-]?11(?=\s?(?:事件|恐怖))|\d{1,2}[·•]\d{1,2}(?!\d|[·•])|\d{1,2}\.\d{1,2}(?=\s?"
        r"[”\"」]?(?:晚会|事变|[小长]?假期|长假|大?地震|劳动节|黄金周|运动))|24/7(?!\d))",
        _named_day,
    ),
)
