"""What a text may hold that is one token to the model: sounds and stresses, and in CosyVoice3 phonemes and pinyin."""

END_OF_SYSTEM = "<|endofsystem|>"
"""CosyVoice3 has an id for it, after those of the sounds, and no use."""

_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"
_STRESSES = ("", "0", "1", "2")
_PINYIN = """
b c ch d f g h j k l m n p q r s sh t w x y z zh
a ai an ang ao ā āi ān āng āo á ái án áng áo ǎ ǎi ǎn ǎng ǎo à ài àn àng ào
e ei en eng ē ēi ēn ēng é éi én éng ér ě ěi ěn ěng ěr è èi èn èng èr
i ian in ing iu ī īn īng í ín íng ǐ ǐn ǐng ì ìn ìng
iā iān iāng iāo iá ián iáng iáo iǎ iǎn iǎng iǎo ià iàn iàng iào
iē ié iě iè iōng ióng iǒng iòng iū iú iǔ iù
o ong ou ō ōng ōu ó óng óu ǒ ǒng ǒu ò òng òu
u uang ue un uo ū ūn ú ún ǔ ǔn ù ùn
uā uāi uān uāng uá uái uán uáng uǎ uǎi uǎn uǎng uà uài uàn uàng
uē ué uě uè uī uí uǐ uì uō uó uǒ uò ǘ ǚ ǜ vè
"""

PHONEMES = tuple(
    f"[{phoneme}{stress}]"
    for phoneme in sorted(f"{_VOWELS} {_CONSONANTS}".split())
    for stress in (_STRESSES if phoneme in _VOWELS.split() else ("",))
)
"""ARPABET, vowels with and without their stress, in the order of their ids (upstream: `CosyVoice3Tokenizer`)."""
PINYIN = tuple(f"[{name}]" for name in sorted(_PINYIN.split()))
"""Initials, finals with and without their tone, composed (NFC), in the order of their ids."""
