"""Units by the sign they are written with (GB 3100 to 3102), and amounts of them."""

import re
from itertools import product

from cosyserve_words.languages.tables import table, words

_PREFIXES = table("= k=千 m=毫 c=厘 μ=微 µ=微 u=微 n=纳 M=兆 G=吉 h=百 d=分 p=皮")
_BASES = table(
    "m=米 g=克 L=升 l=升 s=秒 W=瓦 V=伏 A=安 Hz=赫兹 J=焦 Pa=帕 mol=摩尔 Ω=欧 N=牛 F=法 eV=电子伏 Wh=瓦时 Ah=安时 "
    "cal=卡 K=开 bps=比特每秒 T=特 Sv=西弗 Bq=贝克"
)
_FOUND_WITH = table(
    "m=kcmμµundp g=kmμµun L=mμµud l=mμµud s=mμµun W=kmMG V=kmμµ A=mμµ Hz=kMG J=kM Pa=khM mol=mμµun Ω=kM N=k F=μµnp "
    "eV=kMG Wh=kMG Ah=mk cal=k K= bps=kMG T=m Sv=mμµ Bq=kM"
)
"""The prefixes that each is found with."""
_ALONE = frozenset(words("m g L s W V Hz J Pa mol Ω N eV Wh Ah cal bps Sv Bq"))
"""Bases that stand for a unit without a prefix too; a lone A or T or K behind a number mostly names something else."""
_OTHERS = table(
    "h=小时 hr=小时 hrs=小时 min=分钟 mins=分钟 sec=秒 t=吨 ha=公顷 dB=分贝 db=分贝 M=兆 in=英寸 inch=英寸 ft=英尺 "
    "mi=英里 yd=码 lb=磅 lbs=磅 oz=盎司 rpm=转每分 r/min=转每分 r/s=转每秒 mmHg=毫米汞柱 px=像素 fps=帧每秒 "
    "mph=英里每小时 kph=公里每小时 KM=千米 CM=厘米 MM=毫米 KG=千克 Kg=千克 ML=毫升 ml=毫升 kw=千瓦 KW=千瓦 "
    "kwh=千瓦时 KWh=千瓦时 kn=节 IU=国际单位 °C=摄氏度 ℃=摄氏度 °F=华氏度 ℉=华氏度 °=度 º=度 ㎡=平方米 ㎥=立方米 "
    "㎏=千克 ㎝=厘米 ㎜=毫米 ㎞=千米 ㎎=毫克 ㏄=毫升 cc=毫升 ㎢=平方千米 ㎖=毫升 ′=分 ″=秒"
)
_POWERS = {"2": "平方", "²": "平方", "3": "立方", "³": "立方"}


def _table() -> dict[str, str]:
    units = {
        prefix + base: _PREFIXES[prefix] + name
        for base, name in _BASES.items()
        for prefix in [*_FOUND_WITH[base], *([""] if base in _ALONE else [])]
    } | _OTHERS
    powers = {
        length + power: name + units[length]
        for length, (power, name) in product(("m", "km", "cm", "mm", "dm"), _POWERS.items())
    }
    return units | powers | {"s2": "二次方秒", "s²": "二次方秒"}


UNITS = _table()
SIGN = "(?:" + "|".join(re.escape(sign) for sign in sorted(UNITS, key=len, reverse=True)) + ")"
"""One unit as it is written."""


def unit_words(written: str) -> tuple[str, str]:
    """What is said before and behind the number: `km/h` is 每小时 and 公里, `kg/m³` is nothing and 千克每立方米."""
    written = written.replace(" ", "")
    above, _, below = written.partition("/")
    if written in UNITS:
        return "", UNITS[written]
    if below in {"h", "hr"}:
        return "每小时", {"km": "公里", "KM": "公里"}.get(above, UNITS[above])
    return "", f"{UNITS[above]}每{UNITS[below]}"
