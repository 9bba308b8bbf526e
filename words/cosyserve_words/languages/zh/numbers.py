"""Chinese number words: quantities, figures one by one, 两 and 二 (GB/T 15835 says which form is used where)."""

from functools import lru_cache

import cn2an

from cosyserve_words.languages.zh.script import compiled

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:[.．]\d+)?"
"""Figures with or without commas and a point."""
SCALE = "(?:万亿|千万|百万|十万|[万亿千百])"
DASH = "(?:-{1,2}|[~–—〜～至])"
HAN = "\u3400-\u9fff"

_MOST_FIGURES = 16
"""So many cn2an takes."""
_FIGURES = str.maketrans("0123456789", "零一二三四五六七八九")
_LEADING_TWO = compiled(r"^二(?=[百千万亿])")
_MISSING_ZERO = compiled(r"亿(?=[一二三四五六七八九][^万]*$)")
_COUNTED = compiled(
    r"\s?(?:[个只条件本张位名种天周岁米吨升元块角毛人家座台辆部套双对所项场轮步句段篇首杯瓶碗盒包袋颗粒片根支把头匹口门批组队排列"
    r"群伙份样棵株朵束扇盏副幅枚架艘顿餐串堆层栋间遍趟回声拳针剂斤磅里亩倍半成寸尺丈秒点年分刻夜晚次度站处边股节集卷课道"
    r"圈滴捆桶箱罐勺锅壶代者侧端党派省市村格行字笔户尊面扎打伏瓦刀拨季帧厅]"
    r"|公[里斤顷分]|[千厘毫微]米|[千毫]克|克|毫升|平方|立方|小时|星期|礼拜|美[元金分]|欧元|英[镑里尺寸]|日元|港[元币]|韩元|海里|光年|世纪"
    r"|室(?=\d)|百分点|度)"
)
_NOT_COUNTED = compiled(
    r"\s?(?:年级|次[元方函]|人转|分之|分法|分类|个?月份|部曲|年生|极管|面体|进制|道杠|位数|季度|代(?!人)"
    r"|等|字头|世祖|套房)"
)  # fmt: skip


def figures(written: str, *, one: str = "一") -> str:
    """Figures one by one, what else there is as it stands; `one` is 幺 in what is dialled."""
    return written.translate(_FIGURES).replace("一", one)


def cardinal(number: str) -> str:
    """`-1,234.50` as a quantity, 二 throughout; more figures than have names are read one by one."""
    minus, number = ("负", number[1:]) if number.startswith("-") else ("", number)
    whole, _, part = number.replace(",", "").replace("．", ".").partition(".")
    return minus + _whole(whole or "0") + ("点" + figures(part) if part else "")


@lru_cache(maxsize=4096)
def _whole(digits: str) -> str:
    kept = digits.lstrip("0") or "0"
    # Where nothing stands at 万, cn2an forgets the 零 behind 亿.
    return _MISSING_ZERO.sub("亿零", cn2an.an2cn(kept, "low")) if len(kept) <= _MOST_FIGURES else figures(digits)


def quantity(number: str, after: str = "") -> str:
    """A number in front of `after`: 两 before what is counted and before 百, 千, 万, 亿, else 二."""
    if number.startswith("-"):
        return "负" + quantity(number[1:], after)
    if number.lstrip("0") == "2":
        return "两" if is_counted(after) else "二"
    return _LEADING_TWO.sub("两", cardinal(number))


def is_counted(after: str) -> bool:
    """Whether two of what follows are 两."""
    return bool(_COUNTED.match(after)) and not _NOT_COUNTED.match(after)


def scaled(number: str, scale: str, after: str = "") -> str:
    """`1.5` and 万, or no scale at all."""
    if scale and number == "2":
        return "两" + scale
    return quantity(number, after) + scale
