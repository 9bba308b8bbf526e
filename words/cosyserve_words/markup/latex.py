"""LaTeX of the simple kind, to the signs that the languages know how to say."""

import re

from cosyserve_words.markup.marks import Kind
from cosyserve_words.spans import Options
from cosyserve_words.surface import Builder

_COMMANDS = {
    "times": "×", "cdot": "·", "div": "÷", "pm": "±", "leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "neq": "≠",
    "ne": "≠",
    "approx": "≈", "equiv": "≡", "infty": "∞", "to": "→", "rightarrow": "→", "Rightarrow": "⇒", "leftarrow": "←",
    "in": "∈",
    "sum": "∑", "int": "∫", "partial": "∂", "cup": "∪", "cap": "∩", "forall": "∀", "exists": "∃", "therefore": "∴",
    "propto": "∝",
    "degree": "°", "circ": "°", "ldots": "…", "dots": "…", "cdots": "…", "lt": "<", "gt": ">", "quad": " ",
    "qquad": " ",
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "kappa": "κ",
    "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
    "chi": "χ",
    "psi": "ψ", "omega": "ω", "Delta": "Δ", "Sigma": "Σ", "Omega": "Ω", "Phi": "Φ", "Gamma": "Γ", "Lambda": "Λ",
}  # fmt: skip
_RAISED = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_LOWERED = str.maketrans("0123456789+-", "₀₁₂₃₄₅₆₇₈₉₊₋")
_GROUP = r"\{([^{}]{1,100})\}"
_FRACTION = re.compile(rf"\\[dt]?frac{_GROUP}{_GROUP}")
_ROOT = re.compile(rf"\\sqrt{_GROUP}")
_TEXT = re.compile(rf"\\(?:text|mathrm|mathbf|mathit|operatorname|textbf|textit){_GROUP}")
_POWER = re.compile(r"\^(?:\{([^{}]{1,20})\}|([0-9A-Za-z]))")
_INDEX = re.compile(r"_(?:\{([^{}]{1,20})\}|([0-9A-Za-z]))")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_MOST_NESTED = 4


def plain(formula: str) -> str:
    r"""`\\frac{1}{2}x^{2}` as 1/2 x², with the signs that rules read."""
    for _ in range(_MOST_NESTED):
        before = formula
        for pattern, made in ((_TEXT, r" \1 "), (_FRACTION, _fraction), (_ROOT, r" √\1 ")):
            formula = pattern.sub(made, formula)
        formula = _POWER.sub(lambda found: _raised(found[1] or found[2]), formula)
        formula = _INDEX.sub(lambda found: _lowered(found[1] or found[2]), formula)
        if formula == before:
            break
    formula = _COMMAND.sub(
        lambda found: f" {_COMMANDS[found[1]]} " if found[1] in _COMMANDS else f" {_name(found[1])} ", formula
    )
    return " ".join(re.sub(r"\\([%#&$_{}])", r"\1", formula).replace("\\,", " ").translate(_BRACES).split())


_BRACES = str.maketrans("", "", "{}\\")


def _name(command: str) -> str:
    """`sin`, `log` are words; `left`, `right` and the like only shape."""
    return "" if command in {"left", "right", "big", "Big", "displaystyle", "limits", "begin", "end"} else command


def _fraction(found: re.Match[str]) -> str:
    top, below = found[1].strip(), found[2].strip()
    return f" {top}/{below} " if top.isdecimal() and below.isdecimal() else f" {top} ÷ {below} "


def _raised(text: str) -> str:
    return text.translate(_RAISED) if re.fullmatch("[-+]?[0-9]+", text) else f"^{text}"


def _lowered(text: str) -> str:
    return text.translate(_LOWERED) if re.fullmatch("[-+]?[0-9]+", text) else f" {text} "


def _formula(found: re.Match[str], builder: Builder, options: Options) -> bool:
    del options
    body = found[0].strip("$")
    if body.startswith(("\\(", "\\[")):
        body = body[2:-2]
    elif found[0].startswith("$") and not re.search(r"\\[A-Za-z]|[\^_=+<>]|^[A-Za-z]$", body):
        return False  # sums of money
    builder.put(f" {plain(body)} ", found.start(), found.end())
    return True


def _bare(found: re.Match[str], builder: Builder, options: Options) -> bool:
    del options
    builder.put(f" {plain(found[0])} ", found.start(), found.end())
    return True


KINDS: tuple[Kind, ...] = (
    (
        "formula",
        (
            r"\$\$[^$\n]{1,500}\$\$|\$(?=[^\s$])[^$\n]{1,300}(?<=[^\s\\])\$(?![0-9A-Za-z])|\\\((?:[^\\\n]|\\(?!\)))"
            r"{1,500}\\\)|\\\[(?:[^\\\n]|\\(?!\])){1,500}\\\]"
        ),
        _formula,
    ),
    ("command", r"\\(?:[dt]?frac\{[^{}\n]{1,100}\}\{[^{}\n]{1,100}\}|sqrt\{[^{}\n]{1,100}\})", _bare),
)
