"""Which language a text is in, by words and letters that only one has."""

import re
from collections import Counter
from functools import lru_cache

from cosyserve_words.languages.tables import words

_COMMON = {
    "en": words(
        "the of and to in is are was were that it for on with as at by this be have has from or not but you he she "
        "we they i a an no do so me my your if all can what there their our will would one out about up who been him "
        "her his had when more very said"
    ),
    "de": words(
        "der die das und ist nicht ein eine mit auf für von dem den im zu wir ich sie es sind wird auch bei nach aus "
        "um am"
    ),
    "fr": words(
        "le la les des du et est un une dans pour que qui sur avec pas au aux il elle nous vous ce cette sont il y a à"
    ),
    "es": words(
        "el la los las de y en que es un una por con para del al se no hay su son como más está pero lo cuesta"
    ),
    "it": words(
        "il lo la gli le di e è un una che per con non ho hai ha abbiamo anni del della sono nel si da ci alle costa "
        "ma anche"
    ),
    "pt": words(
        "o os as de e é tenho anos um uma que não para com do da em no na por são ao mais você tem custa mas há"
    ),
    "nl": words("de het een en van is dat niet in op te zijn voor met aan er om dan ook bij naar ik je wij kost"),
    "sv": words("och är en ett att det som på av för med den till inte har jag vi kostar om"),
    "da": words("og er en et at det som på af for med den til ikke har jeg vi koster om der"),
    "no": words("og er en et at det som på av for med den til ikke har jeg vi koster om"),
    "pl": words("i w na z nie jest to się do że jak za o ma są od po kosztuje mam"),
    "cs": words("a je v na se že to s z do o jsou za od po má stojí jsem"),
    "ro": words("și este în de la cu pe nu un o care din sau sunt pentru costă are"),
    "hu": words("a az és van nem egy hogy is ez meg volt kell"),
    "fi": words("ja on ei se että hän oli ovat kun myös mutta tai"),
    "tr": words("ve bir bu da de için ile çok var ne mi olarak"),
    "id": words("yang dan di ini itu dengan untuk tidak ada dari ke saya harga"),
    "vi": words("và là của có không một được cho trong những với người này giá"),
}
_LETTERS = {
    "de": "ß",
    "es": "ñ¿¡",
    "pt": "ãõ",
    "pl": "łżźćńąęś",
    "cs": "řěů",
    "hu": "őű",
    "tr": "ğışİ",
    "ro": "țșăţ",
    "vi": "đơưạảấầẩậắằặẹẻếềểễệịọỏốồổộớờởợụủứừửữựỳỷỹ",
    "fr": "œêûçà",
    "da": "æø",
    "sv": "å",
}
_CYRILLIC = {"uk": "іїєґ", "be": "ў", "sr": "ђћџј", "ru": "ыэё"}
_PERSIAN = re.compile("[پچژگکی]")
_CANTONESE = re.compile("[嘅唔喺咗佢哋冇嘢啲嗰咁嚟啱瞓咩乜攞畀]")
_WORD = re.compile(r"(?<![\w.@/:-])[^\W\d_]+(?![\w@/]|\.\w)")
"""A word that is no part of an address or a name with figures."""
_EASTERN = re.compile("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]")
_HIT, _LETTER = 2, 3


@lru_cache(maxsize=256)
def guess(script: str, text: str) -> str:
    """The language of a text in this script, or "" where its words do not say."""
    if script == "han":
        return "yue" if _CANTONESE.search(text) else ""
    if script == "arabic":
        return "fa" if _PERSIAN.search(text) else ""
    if script == "cyrillic":
        return next((code for code, letters in _CYRILLIC.items() if any(letter in text for letter in letters)), "")
    return _of_latin(text) if script == "latin" else ""


def _of_latin(text: str) -> str:
    small = text.lower()
    score: Counter[str] = Counter()
    for word in _WORD.findall(small):
        score.update({code: _HIT for code, common in _COMMON.items() if word in common})
    for code, letters in _LETTERS.items():
        score[code] += _LETTER * any(letter in small for letter in letters)
    (best, most), *others = score.most_common(2) or [("", 0)]
    second = others[0][1] if others else 0
    enough = 2 * _HIT if _EASTERN.search(text) else 1  # a foreign word or two amid others tells little
    return best if most > second and most >= enough else ""
