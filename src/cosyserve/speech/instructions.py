"""Instructions that a model is known to follow: those that CosyVoice3 was trained with (upstream: `instruct_list`)."""

from typing import NamedTuple


class Instruction(NamedTuple):
    """name: what it brings about, in English. instruction: what to send."""

    name: str
    instruction: str


_DIALECTS = {
    "Cantonese": "广东",
    "Northeastern": "东北",
    "Gansu": "甘肃",
    "Guizhou": "贵州",
    "Henan": "河南",
    "Hubei": "湖北",
    "Hunan": "湖南",
    "Jiangxi": "江西",
    "Southern Min": "闽南",
    "Ningxia": "宁夏",
    "Shanxi": "山西",
    "Shaanxi": "陕西",
    "Shandong": "山东",
    "Shanghai": "上海",
    "Sichuan": "四川",
    "Tianjin": "天津",
    "Yunnan": "云南",
}
_MANNERS = {
    "loud": "Please say a sentence as loudly as possible.",
    "soft": "Please say a sentence in a very soft voice.",
    "slow": "请用尽可能慢地语速说一句话。",
    "fast": "请用尽可能快地语速说一句话。",
    "happy": "请非常开心地说一句话。",
    "sad": "请非常伤心地说一句话。",
    "angry": "请非常生气地说一句话。",
    "Peppa Pig": "我想体验一下小猪佩奇风格，可以吗？",
    "robot": "你可以尝试用机器人的方式解答吗？",
}
_OF_COSYVOICE3 = (
    *(Instruction(name, f"请用{place}话表达。") for name, place in _DIALECTS.items()),
    *(Instruction(name, words) for name, words in _MANNERS.items()),
)


def known_to(model_type: str | None) -> list[dict[str, str]]:
    """Those of a model, as JSON; none are known of CosyVoice2, which was not taught by a list."""
    return [one._asdict() for one in _OF_COSYVOICE3] if model_type == "CosyVoice3" else []
