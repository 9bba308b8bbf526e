"""What machines read: URLs, e-mail, paths, IP addresses, versions. Signs are named, figures read one by one."""

import re

from cosyserve_words.language import Context, Language, Rule, rule

_TOP = (
    "com|org|net|edu|gov|mil|int|io|ai|co|info|biz|dev|app|me|tv|cc|xyz|top|site|online|shop|cloud|tech|abc|cn|uk|de|fr|jp|kr|hk|tw|us"
    "|ca|au|eu|ru|in|it|es|nl|se|no|ch|at|be|br|mx|sg|sm|nz|pl|id|gg|ly|so|fm"
)
_KNOWN = {"jpg": "jpeg", "jpeg": "jpeg"}
_FILES = (
    "py|js|ts|txt|pdf|jpe?g|png|gif|svg|docx?|xlsx?|pptx?|csv|json|ya?ml|toml|xml|html?|css|md|zip|gz|tar|mp[34]|wav|flac|exe|dll|sh|bat"
    "|cpp|java|rs|go|rb|php|sql|log|ini|cfg|conf|apk|iso|psd|epub|srt"
)
_PARTS = re.compile(r"[A-Za-z]+|[0-9]+|[^\W\d_]+|.", re.DOTALL)
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+")
_TAIL = r"[^\s<>\"'“”‘’，。！？；：、（）【】《》「」\ue000]"
_LOOSE = ".,;:!?)]}*_~"
_SPOKEN_LOW = re.compile("[aeiouyAEIOUY]")


def spelt(written: str, language: Language) -> str:
    """An address as one says it: words, signs by their names, figures one by one."""
    said = " ".join(_part(part, language) for part in _PARTS.findall(written))
    return said if language.spaced else re.sub(r"(?<![!-~]) | (?![!-~])", "", said)


def _part(part: str, language: Language) -> str:
    if part.isdecimal() and part.isascii():
        return language.digits(part)
    if part.isalpha():
        if part.lower() in _KNOWN:
            return _KNOWN[part.lower()]
        return (
            part.upper()
            if len(part) <= 5 and part.isascii() and not _SPOKEN_LOW.search(part) and len(part) > 1
            else part
        )
    return language.signs.get("ampersand", part) if part == "&" else language.sign(part)


def _url(found: re.Match[str], context: Context) -> str:
    return spelt(found[0], context.language)


def _version(found: re.Match[str], context: Context) -> str | None:
    """`v2.0.1`, `17.4.1`: numbers, with a point between them."""
    language = context.language
    if language.thousands == "." and _THOUSANDS.fullmatch(found["numbers"]):
        return None
    point = language.signs.get("point") or language.sign(".")
    first, *others = (language.cardinal(part) for part in found["numbers"].split("."))
    return language.joined(found["v"], first, *(word for number in others for word in (point, number)))


def _ip(found: re.Match[str], context: Context) -> str:
    language = context.language
    said = f" {language.sign('.')} ".join(
        language.digits(part) for part in found[0].removesuffix(found["port"] or "").split(".")
    )
    if found["port"]:
        said += f" {language.sign(':')} {language.digits(found['port'][1:])}"
    return said if language.spaced else said.replace(" ", "")


def _tag(found: re.Match[str], context: Context) -> str:
    return f"{context.language.sign('#tag')} {found[1]}"


def _at(found: re.Match[str], context: Context) -> str:
    return f"{context.language.sign('@')} {found[1]}"


_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)+"
_END = r"(?![A-Za-z0-9_@-])"
_PATH = rf"(?:[:][0-9]{{2,5}})?(?:[/?#]{_TAIL}{{0,2000}}(?<![{re.escape(_LOOSE)}]))?/?"
_WORD = "(?<![A-Za-z0-9@._-])"
RULES: tuple[Rule, ...] = (
    rule(
        "url",
        rf"(?i:https?|ftp|file|wss?)://{_TAIL}{{1,2000}}(?<![{re.escape(_LOOSE)}])",
        _url,
        first="HhFfWw",
        hint="(?i:https?|ftp|file|wss?)://",
    ),
    rule(
        "email",
        rf"(?<![A-Za-z0-9@_-])[A-Za-z0-9][A-Za-z0-9.!#$%&*+=?^_`{{|}}~-]{{0,63}}@{_HOST}[A-Za-z]{{2,12}}{_END}{_PATH}",
        _url,
        first="A-Za-z0-9",
        hint=r"(?<![A-Za-z0-9@_&-])[A-Za-z0-9][A-Za-z0-9._&-]{0,40}@[A-Za-z0-9]",
    ),
    rule(
        "url",
        rf"{_WORD}www\.{_HOST}[A-Za-z]{{2,12}}{_END}{_PATH}",
        _url,
        first="Ww",
        hint=r"(?i:www\.)",
    ),
    rule(
        "url",
        rf"{_WORD}{_HOST}(?:{_TOP})(?:\.(?:{_TOP}))?{_END}(?!\.[A-Za-z]){_PATH}",
        _url,
        first="A-Za-z0-9",
        hint=rf"(?<![A-Za-z0-9@._-])[A-Za-z0-9-]+\.[A-Za-z0-9.-]*(?:{_TOP})(?![A-Za-z0-9])",
    ),
    rule(
        "path",
        rf"(?<![A-Za-z0-9<:/.])(?:(?<![一-鿿])|(?=[~.]{{0,2}}/[^/\s]+/))(?:[A-Za-z]:\\|~?/|\.\.?/)"
        rf"(?:[A-Za-z0-9_.@+-]+[/\\])"
        rf"*[A-Za-z0-9_.@+-]*[A-Za-z0-9_]/?(?=[/\\]|{_TAIL}?)",
        _url,
        first=r"A-Za-z~/.",
        hint=r"[A-Za-z]:\\|(?<![A-Za-z0-9<:/.])(?:~|\.\.?)?/[A-Za-z0-9_.-]+/[A-Za-z0-9_]|(?:~|\.\.?)/[A-Za-z0-9_]",
    ),
    rule(
        "path",
        rf"{_WORD}[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*\.(?i:{_FILES})(?![A-Za-z0-9_])",
        _url,
        first="A-Za-z0-9_",
        hint=rf"{_WORD}[A-Za-z0-9_][A-Za-z0-9_-]*\.[A-Za-z0-9_.-]*(?i:{_FILES})(?![A-Za-z0-9])",
    ),
    rule(
        "address",
        r"(?<![0-9A-Za-z.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?P<port>:[0-9]{2,5})?(?![0-9A-Za-z])(?!\.[0-9])",
        _ip,
    ),
    rule(
        "version",
        r"(?<![0-9A-Za-z.])(?![0-9]{1,2}\.[0-9]{1,2}\.[12][0-9]{3}(?![0-9.]))"
        r"(?![12][0-9]{3}\.[01]?[0-9]\.[0-3]?[0-9](?![0-9.]))"
        r"(?P<v>)(?P<numbers>[0-9]{1,5}(?:\.[0-9]{1,2}[0-9]?){2,4})(?![0-9])(?!\.[0-9])",
        _version,
    ),
    rule(
        "version",
        r"(?<![A-Za-z0-9])(?P<v>[vV])\.?(?P<numbers>[0-9]{1,5}(?:\.[0-9]{1,5}){1,4})(?![0-9])(?!\.[0-9])",
        _version,
        first="vV",
        hint=r"(?<![A-Za-z0-9])[vV]\.?[0-9]",
    ),
    rule(
        "version",
        r"(?<![A-Za-z0-9])(?P<v>[vV])(?P<numbers>[0-9]{1,3})(?![0-9A-Za-z])",
        _version,
        first="vV",
        hint=r"(?<![A-Za-z0-9])[vV][0-9]",
    ),
    rule("hashtag", r"(?<![\w#&])#([^\W\d]{1,60})#?", _tag, first="#"),
    rule("mention", r"(?<![\w@.])@([A-Za-z_]{1,40})", _at, first="@"),
)
