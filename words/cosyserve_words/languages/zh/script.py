"""Simplified and traditional characters: rules that take both, and answer in those of the text around."""

import re

from cosyserve_words.language import DIGIT, Context, Reader, Rule, rule

_PAIRS = (
    "个個 两兩 亿億 万萬 点點 负負 号號 时時 钟鐘 岁歲 块塊 条條 张張 种種 辆輛 双雙 对對 项項 场場 轮輪 笔筆 颗顆 "
    "间間 层層 栋棟 届屆 楼樓 单單 订訂 验驗 证證 码碼 动動 态態 请請 换換 账賬 帐帳 电電 话話 机機 传傳 热熱 线線 "
    "运運 递遞 车車 门門 邮郵 编編 护護 学學 员員 会會 领領 战戰 胜勝 败敗 队隊 赢贏 输輸 欧歐 镑鎊 韩韓 华華 温溫 "
    "气氣 级級 页頁 图圖 题題 财財 赛賽 纪紀 历歷 后後 来來 余餘 数數 减減 于於 约約 开開 吨噸 亩畝 顷頃 转轉 尔爾 "
    "兹茲 帧幀 节節 压壓 报報 务務 区區 国國 县縣 铁鐵 过過 长長 货貨 联聯 拨撥 购購 击擊 锅鍋 盏盞 发發 厅廳 亚亞 "
    "卢盧 网網 设設 马馬 课課 样樣 计計 记記 边邊 频頻 标標 伙夥 针針 剂劑 壶壺 户戶 术術 册冊 贝貝 诉訴 冻凍 总總 "
    "扫掃 惨慘 柜櫃 档檔 沪滬 琼瓊 缀綴 苏蘇 贵貴 赣贛 轰轟 辽遼 闽閩 陕陝 险險 驰馳 骁驍 鲁魯 识識 诺諾 议議 统統 "
    "组組 荣榮 获獲 内內 处處 应應 摄攝 横橫 歼殲 粤粵 许許 纳納 宝寶 济濟 恒恆 们們 备備"
)
_TO_TRADITIONAL = {pair[0]: pair[1] for pair in _PAIRS.split() if pair[0] != pair[1]}
_TABLE = str.maketrans(_TO_TRADITIONAL)
_TRADITIONAL = re.compile(f"[{''.join(_TO_TRADITIONAL.values())}們這說裡時為實進對應麼嗎讓關變從見現樂觀聽買賣寫給]")
_AROUND = 60
"""Characters on either side that tell which script a text is in."""


def both(pattern: str) -> str:
    """A pattern of simplified characters that takes the traditional ones as well."""
    made, in_class = [], False
    for character in pattern:
        in_class = (in_class or character == "[") and character != "]"
        other = _TO_TRADITIONAL.get(character)
        made.append(character if other is None else character + other if in_class else f"[{character}{other}]")
    return "".join(made)


def compiled(pattern: str, *, cased: bool = True) -> re.Pattern[str]:
    """A pattern for either script; a figure is one of ASCII's."""
    return re.compile(both(pattern), re.ASCII | (0 if cased else re.IGNORECASE))


def traditional(words: str) -> str:
    """Number words in traditional characters."""
    return words.translate(_TABLE)


def hanzi(kind: str, pattern: str, reader: Reader, *, first: str = DIGIT, hint: str = "") -> Rule:
    """A rule for either script, whose words are in the script of the text around them."""
    return rule(kind, "(?a)" + both(pattern), _adapted(reader), first=both(f"[{first}]")[1:-1], hint=hint)


def _adapted(reader: Reader) -> Reader:
    def read(match: re.Match[str], context: Context) -> str | None:
        words = reader(match, context)
        if not words:
            return words
        start = max(0, match.start() - _AROUND)
        is_traditional = _TRADITIONAL.search(match.string, start, match.end() + _AROUND)
        return traditional(words) if is_traditional else words

    return read
