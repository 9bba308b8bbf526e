"""What is said while it is measured: the same texts for the same plan, on every machine."""

import random

SENTENCES = (
    "欢迎光临！请问您需要什么？",
    "今天的招牌菜是清蒸鲈鱼，还有刚出锅的小笼包。",
    "您的座位在靠窗的那一边，请跟我来。",
    "这道菜有一点辣，要不要换成不辣的？",
    "好的，我马上为您确认，请稍等片刻。",
    "一共是一百二十八元，可以用手机支付。",
    "外面下雨了，我们可以借给您一把伞。",
    "谢谢您的耐心等待，祝您用餐愉快！",
)
WARM = "今天天气很好，我们一起去公园里走一走吧，路上再买两杯热豆浆。"
SHORTEST, LONGEST = 4, 60
"""Characters of a text of random length: from one word to about a quarter of a minute."""


def of_length(chars: int, first: int = 0) -> str:
    """So many characters of the sentences, in turn from the one with this number on."""
    said = ""
    while len(said) < chars:
        said += SENTENCES[first % len(SENTENCES)]
        first += 1
    return said[:chars]


def random_lengths(count: int, seed: int) -> list[str]:
    """Texts of SHORTEST to LONGEST characters, drawn alike for the same seed."""
    draw = random.Random(seed)  # noqa: S311 - repeatable on purpose
    return [of_length(draw.randint(SHORTEST, LONGEST), draw.randrange(len(SENTENCES))) for _ in range(count)]
