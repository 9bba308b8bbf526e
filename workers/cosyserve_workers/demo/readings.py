"""What espeak-ng's voices can read, and how to write for them what they cannot. Pure.

Where a voice meets something it has no reading for, espeak-ng 1.52 goes over to another language in mid-clause. That
sounds wrong, is never given back to the system (some 0.2 MB each time) and may crash. So each voice gets its own
script, digits, and nothing else.
"""

import re

MANDARIN = "sit/cmn"
JAPANESE = "jpx/ja"
KOREAN = "ko"
RUSSIAN = "zle/ru"
ENGLISH = "gmw/en"
"""British: of the English voices the one whose file has a lower-case name, which espeak-ng opens directly."""

SCRIPTS = {
    MANDARIN: "\u3007\u4e00-\u9fa5",
    JAPANESE: "\u3041-\u3096\u30a1-\u30f6\u30fc",
    KOREAN: "\u1100-\u1112\u1161-\u1175\u11a8-\u11c2\uac00-\ud7a3",
    RUSSIAN: "А-яЁёЄєІіЇїЎўҐґ",
    ENGLISH: "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff",
}
"""Voice and its script, as ranges of a character class. Han is Mandarin also in Japanese text: the Japanese voice says
"Chinese letter" for each."""

WITHOUT_SPACES = frozenset((MANDARIN, JAPANESE))
"""Voices whose script has no spaces between words."""
SYLLABIC = frozenset((MANDARIN, JAPANESE, KOREAN))
"""Voices whose script has a character for each syllable."""

_UNREAD_HAN = (
    "丆丷乄乊乛乤乥乧乬乮乯乲乺乻乼乽亪亽仒仩伬佦佨侤俧俬倿傦僲儏兙兡兯兺冃冧凖凧凩凪匁匂匇厁厑厼叾呚呣咜哖哘哛唜唟"
    "唥啹喸嗧嗭嗴嘥噺嚑嚒嚡囎囕囖圕圦圷圸垈垊垪垯垰垳埖堏堒堔塀塆塰墛墸墹壗壥壪壭夈夑夞夻奍妛娐娳婔婮婲媈媘媫嫲嬄嬜"
    "嬫嬳嬶孧尛尡屗屲屶屷岃岼岾峅崊崰嵜嵵嵶嵻嶶嶿巕巪巬巭巼幉幤幥庒廤廭彁彅徔徚忄怺怽怾恖恷愥慐懳扌扖抣拤挘挧捤掵掶"
    "掹揻揼摗撶擜擝攚敾斏旀旕暃曢曻朑朥朰杁杢杣杤杦枠枤枦枩柨栆栍栶桛桝桞梺梻椙椚椛椡椢椣椦椧椨椩椬楾楿榁榊榋榌槗槝"
    "槞槡樭樮樰橲橳橴橵橸橺橻檪檲櫊櫤櫦櫵櫷欌欍欕欟歄歚殝殱毜毝毟毮毶氞氵氺汢汣汼泹洜浌涥渏湪湭溂溄溊溋滧潈潉潱澚澛"
    "澝濏濵濸濹瀭瀮灐灜灳炚炞炿烥烪烮焁焑焒焹焽焾焿煀煯煶煷熍熕熖熴燝燞燵燶爎爘爠爦爫爳牗牜犞犭猠獇獤珯珱琑琒琻瑃瑡"
    "璍璓璤璴瓧瓩瓰瓱瓲瓸瓼甅畓畠畩疂癦癷睵瞣砛砽砿硓硘硛硳硴碵碷磗磮礀礂礢禙禣稥穃穒穝穦穯窤窧窽竍竏竓竔竕竡笂笹笽"
    "筺筽箮篐篒簓簗簯簱籂籎籏籖籡粀粂粌粏粐粩粫粬粭糀糘糬紦絋綛緕縅縇縨繌繧纐缼罀罉罖羪翶耂聁聓聢聣聨聺胿脋脌膒膤舤"
    "舮舿艈艔艝艠苆茐茒茾荢莵莻萙萞萟萡萢萣蒅蒊蒏蓙蓜蓞蓤蔶蕱薭藔藲藵蘒蘕蘰虄虅虲蛯蝊螁螦螧螩蟐蟵蠴衐衤袥袰裃裄裇褄"
    "褜褝襅襨襷襽覄訁誮謃謉謢贌贘趰踎躮躵躻躼躾軅軈轌辪辷辻込迌迚迲逧遖遤邜邤郒郮酛酜釒釻鈨鈩鈪鈫銯鋲鋴錺錻錿鍂鍅鎆"
    "鎺鎼鎽鎾鏯鏱鏲鐢鐣鑓鑦鑧閊閖閚閪闎闏闧陦陹隡霗霻靍鞆鞐鞰鞺韕韟颪飊駇駯駲髸魞魸魹鮖鮗鮘鮱鮲鮴鯂鯎鯏鯐鯑鯱鯲鯳鰘"
    "鰚鰰鱛鱜鱩鱪鱫鱰鳰鴫鵆鵇鵈鵤鵥鶍鶎鶑鶫麶"
)
"""Han of SCRIPTS for which the Mandarin voice's dictionary has no reading: it would say the code in hexadecimal."""

_MANDARIN_WORDS = [
    (re.compile(pattern), words)
    for pattern, words in (
        (r"(?<![\d.])(\d+(?:\.\d+)?)\s*%", r"百分之\1"),
        (r"¥\s*(\d[\d,.]*)", r"\1元"),
        (r"\$\s*(\d[\d,.]*)", r"\1美元"),
        (r"€\s*(\d[\d,.]*)", r"\1欧元"),
        (r"(?<=\d)\s*~\s*(?=\d)", "到"),
        (r"(?<![\dA-Za-z])-(?=\d)", "负"),
        (r"\s*°\s*C", "摄氏度"),
        (r"\+", "加"),
        (r"=", "等于"),
        (r"&", "和"),
        ("兒|儿(?!子)", "而"),
        (f"[{_UNREAD_HAN}]", " "),
    )
]
"""Symbols that the Mandarin voice leaves out or says in English. Of 儿 at a word's end it would say the "r5" of its
dictionary, as English; 而 sounds like it and is in no such word."""

_I_ROW = "きぎしじちにひびぴみりキギシジチニヒビピミリ"
_JAPANESE_WORDS = [
    (re.compile(pattern), words)
    for pattern, words in (
        *zip("ゎゕゖゐゑヮヵヶヰヱ", "わかけいえワカケイエ", strict=True),
        *zip(("ヴァ", "ヴィ", "ヴェ", "ヴォ", "ヴ"), "バビベボブ", strict=True),
        *zip(("ゔぁ", "ゔぃ", "ゔぇ", "ゔぉ", "ゔ"), "ばびべぼぶ", strict=True),
        *((f"(?<![クグツフくぐつふ]){small}", large) for small, large in ("ぁあ", "ァア")),
        *((f"(?<![ツテデフつてでふ]){small}", large) for small, large in ("ぃい", "ィイ")),
        *((f"(?<![トドとど]){small}", large) for small, large in ("ぅう", "ゥウ")),
        *((f"(?<![シジチツフしじちつふ]){small}", large) for small, large in ("ぇえ", "ェエ")),
        *((f"(?<![クグツフくぐつふ]){small}", large) for small, large in ("ぉお", "ォオ")),
        *((f"(?<![{_I_ROW}]){small}", large) for small, large in ("ゃや", "ゅゆ", "ょよ", "ャヤ", "ュユ", "ョヨ")),
        ("[っッ](?![か-ぢつ-どは-ぽカ-ヂツ-ドハ-ポ])", ""),
        *((f"(?<=[{pair}])ー", pair[1]) for pair in ("ぁあ", "ぃい", "ぅう", "ぇえ", "ぉお")),
        *((f"(?<=[{pair}])ー", pair[1]) for pair in ("ァア", "ィイ", "ゥウ", "ェエ", "ォオ")),
        ("(?<![か-ぢつ-ろわカ-ヂツ-ロワ])ー", ""),
    )
]
"""The small vowels, the v, the long mark and the stop where the Japanese voice has no reading for them."""

_WORDS = {MANDARIN: _MANDARIN_WORDS, JAPANESE: _JAPANESE_WORDS}

_FOREIGN = {
    voice: re.compile(rf"(?![{script}0-9 ]|(?<=[0-9])(?:\.(?=[0-9])|,(?=[0-9]{{3}}))).")
    for voice, script in SCRIPTS.items()
}


def in_words(run: str, voice: str) -> str:
    """A run of one voice, with words for the symbols that it does not read, and a space for what has no words."""
    if voice == ENGLISH:
        return run
    for pattern, words in _WORDS.get(voice, ()):
        run = pattern.sub(words, run)
    return " ".join(_FOREIGN[voice].sub(" ", run).split())


_IONG = {
    "S;'ong55": "兄兇凶匈哅忷恟汹洶胷胸訩詾讻賯",
    "S;'ong35": "熊赨雄",
    "S;'ong51": "夐敻詗诇",
    "tS;h'ong55": "匔焪芎",
    "tS;h'ong35": "儝卭宆惸桏棾橩焭煢琼瓊睘瞏穷穹窮竆笻筇茕藑藭蛩赹跫輁邛銎",
    "tS;'ong55": "冂冋坰埛扃蘏蘔駫",
    "tS;'ong214": "侰僒冏囧幜泂炯烱煚煛熲皛窘絅綗褧迥逈顈颎駉",
    "tS;'ong51": "澃",
}
_MANDARIN_PHONEMES = str.maketrans({char: f" [[{name}]]" for name, chars in _IONG.items() for char in chars})
"""xiong, qiong and jiong, for which espeak-ng 1.52 lacks a rule: it would read "xiong2" as an English word.

The space is needed: some of these names next to each other make it leave Mandarin too."""


def in_letters(part: str, voice: str) -> str:
    """A piece as it goes to espeak-ng, which reads what is in double square brackets as the names of its phonemes."""
    return part.translate(_MANDARIN_PHONEMES) if voice == MANDARIN else part
