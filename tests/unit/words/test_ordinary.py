"""Ordinary sentences without figures pass as they stand: five hundred of English and of Chinese."""

from itertools import product

import pytest

from cosyserve_words.reading import read
from cosyserve_words.spans import Options

_ENGLISH_FIRST = [
    "The old fisherman", "My sister", "Nobody in the village", "A tall woman in a red coat", "The children",
    "Our teacher",
    "Every morning the baker", "Mary", "The committee", "Someone", "His younger brother", "The dog next door",
    "After dinner, the guests", "In May the gardener", "Once again the driver", '"I think," said Tom, "that he',
    "Well — to be honest — she", "You and I", "The man who sold us the boat", "Unfortunately, the minister",
    "It is true that they",
    "Even the sun", "On Sunday the choir", "March winds blew, and the sailor", "Then, of course, Mr Darcy",
]  # fmt: skip
_ENGLISH_LAST = [
    "went home.", "did not say a word!", "might come to the wedding, or so I heard.", "will never forget that day...",
    "sat down; nothing happened.",
    "wrote a letter (a long one) to the editor.", "can't see it, won't see it.", 'asked: "Where is the key?"',
    "was late again, wasn't he?",
    "sold the house to a well-known, soft-spoken doctor.", "laughed, cried, and laughed again.",
    "may be right after all.",
    "ran up the hill as fast as the wind could carry a leaf.", "is in the garden, on the bench by the wall.",
    "no longer believes in ghosts.",
    "made tea for us: black, sweet and hot.", "told me 'not today' and left.", "looked at the clock, then at the door.",
    "has a cat, so what?", "must have known it would end like this…",
]  # fmt: skip
_CHINESE_FIRST = [
    "老张", "我妹妹", "村子里没有人", "那个穿红大衣的女人", "孩子们", "我们的老师", "每天早上面包师傅", "小王和小李",
    "委员会", "隔壁的狗",
    "吃过晚饭，客人们", "春天来了，园丁", "司机又一次", "“我想，”他说，“她", "说实话——她", "你我两个",
    "卖船给我们的那个人", "很遗憾，部长", "其实他们",
    "连太阳", "星期天合唱团", "风起了，水手", "当然，达西先生", "一个朋友", "千千万万的人",
]  # fmt: skip
_CHINESE_LAST = [
    "回家了。", "一句话也没说！", "也许会来参加婚礼，我是这么听说的。", "永远忘不了那一天……",
    "坐了下来；什么也没发生。", "给编辑写了一封（很长的）信。",
    "看不见，也不想看见。", "问道：“钥匙在哪里？”", "又迟到了，不是吗？", "把房子卖给了一位有名的医生。",
    "笑了，哭了，又笑了。", "可能是对的。", "像一阵风一样跑上山去。",
    "在花园里，坐在墙边的长椅上。", "不再相信鬼神、命运和运气。", "给我们泡了茶：又浓又甜又烫。",
    "说了声‘改天吧’就走了。", "看看钟，再看看门。", "有一只猫，那又怎么样？",
    "一定早就知道会是这样的结局。",
]  # fmt: skip
ENGLISH = [f"{first} {last}" for first, last in product(_ENGLISH_FIRST, _ENGLISH_LAST)]
CHINESE = [f"{first}{last}" for first, last in product(_CHINESE_FIRST, _CHINESE_LAST)]


@pytest.mark.parametrize(("language", "sentences"), [("en", ENGLISH), ("zh", CHINESE)], ids=["en", "zh"])
def test_they_pass_as_they_stand(language: str, sentences: list[str]) -> None:
    assert len(set(sentences)) == 500
    said = [read(sentence, Options(language)).text for sentence in sentences]
    assert [pair for pair in zip(said, sentences, strict=True) if pair[0] != pair[1]] == []


@pytest.mark.parametrize(("language", "sentences"), [("en", ENGLISH), ("zh", CHINESE)], ids=["en", "zh"])
def test_nothing_is_lost_in_a_long_text(language: str, sentences: list[str]) -> None:
    text = ("" if language == "zh" else " ").join(sentences)
    segments = [segment.text for segment in read(text, Options(language)).segments]
    assert "".join("".join(segments).split()) == "".join(text.split())
    assert len(segments) > 50
