"""From the plain notation of the docstrings to LaTeX.

Docstrings write equations so that ``help()`` shows them as they stand:
``x_t = alpha_t x_0 + sigma_t eps``. ``latex`` gives the same equation to a browser. What it does
not understand, a table, a program or a sentence, it leaves alone.
"""

from __future__ import annotations

import re

GREEK = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega",
    "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega",
]  # fmt: skip
FUNCTIONS = [
    "sin", "cos", "tan", "sinh", "cosh", "tanh", "sech", "exp", "log", "min", "max", "argmin",
    "argmax", "det", "tr", "diag", "div", "erfc", "silu", "gelu", "relu", "softmax", "sigmoid",
]  # fmt: skip
NAMES = (
    {name: rf"\{name} " for name in GREEK}
    | {name: rf"\operatorname{{{name}}}" for name in FUNCTIONS}
    | {
        "eps": r"\varepsilon ",
        "sum": r"\sum ",
        "prod": r"\prod ",
        "int": r"\int ",
        "integral": r"\int ",
        "grad": r"\nabla ",
        "laplacian": r"\nabla^2 ",
    }
)
SIGNS = {
    "<->": r"\leftrightarrow ",
    "...": r"\ldots ",
    "..": r"\ldots ",
    "->": r"\to ",
    "<-": r"\leftarrow ",
    "<=": r"\le ",
    ">=": r"\ge ",
    "!=": r"\ne ",
    "+-": r"\pm ",
    "||": r"\,\|\,",
    "~": r"\sim ",
    "*": r"\ast ",
    "|": "|",
    ":": r"{:}\ ",
    "{": r"\{",
    "}": r"\}",
}
_BEFORE_GREEK = rf"(?:sum|prod|int|min|max)_(?:{'|'.join(GREEK)})\b"
_GREEK_WITH_INDEX = rf"(?:{'|'.join(GREEK)})_"
RELATIONS = re.compile(r"=|~|->|<-|[<>] |\^|\b(?:sum|prod|int|min|max)_")
TOKEN = re.compile(
    rf"""
    (?P<code>``[^`]+``|(?!{_BEFORE_GREEK}|{_GREEK_WITH_INDEX})[a-z]{{3,}}_[a-z]{{3,}}(?=[ ,;.)]|$))
  | (?P<name>[A-Za-z]+)
  | (?P<number>\d[\d,]*\d|\d)
  | (?P<script>[_^](?:\(|\{{|(?:[a-z],)?2i(?:\+1)?(?=[ ]=)|-?[A-Za-z0-9]+))
  | (?P<hyphen>(?<=[a-z]{{2}})-(?=[a-z]{{2}})|(?<=\d\d)-(?=\w)|(?<=\w)-(?=\d\d|th\b))
  | (?P<gap>[ ]{{2,}})
  | (?P<space>[ ])
  | (?P<sign><->|\.\.\.?|->|<-|<=|>=|!=|\+-|\|\||[-+=<>/|~*:,;.!'()\[\]{{}}])
    """,
    re.VERBOSE,
)
CLOSING = {"(": ")", "{": "}", "[": "]"}


def latex(block: str) -> str | None:
    r"""The equations of a block, a line each, or None if it has none.

    >>> print(latex("x_t = alpha_t x_0 + sigma_t eps"))
    x_{t}=\alpha _{t}\,x_{0}+\sigma _{t}\,\varepsilon
    >>> latex("toys         the next three, one after the other") is None
    True
    """
    if not RELATIONS.search(block) or re.search(r"[\"#@\\$%&?]|\bdef |\blambda [a-z, ]+:", block):
        return None
    try:
        lines = [_line(line) for line in _at_relations(block.splitlines())]
    except ValueError:
        return None
    if len(lines) == 1:
        return lines[0].removeprefix("& ")
    return "\\begin{{aligned}}\n{}\n\\end{{aligned}}".format(" \\\\\n".join(lines))


def _at_relations(lines: list[str]) -> list[tuple[str, str]]:
    """Each line as what stands before and after the sign to align at: at nothing, or at relations.

    Only lines that have their first relation in the same column are aligned there.
    """
    found = [re.search(r" (=|<=|<-|->|~) ", line) for line in lines]
    starts = {match.start() if match else -1 for match in found}
    at = starts.pop() if len(starts) == 1 and len(lines) > 1 else 0
    return [(line[: max(at, 0)], line[max(at, 0) :]) for line in lines]


def _line(parts: tuple[str, str]) -> str:
    before, after = parts
    indent = r"\qquad " if after.startswith("  ") else ""
    return f"{_tex(before.strip())}& {indent}{_tex(after.strip())}"


def _tex(text: str) -> str:
    """LaTeX of a text without line breaks; ValueError where a sign is unknown."""
    text = _as_signs(text)
    out: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in _SINGLE:
            out.append(_SINGLE[text[at]])
            at += 1
            continue
        match = TOKEN.match(text, at)
        if match is None:
            raise ValueError(text[at])
        kind, token = str(match.lastgroup), match.group()
        at = match.end()
        if kind == "script":
            script, at = _script(text, token, at)
            out.append(script)
        elif kind == "name" and token == "sqrt" and text[at : at + 1] == "(":
            end = _matching(text, at)
            out.append(rf"\sqrt{{{_tex(text[at + 1 : end])}}}")
            at = end + 1
        elif kind == "name":
            out.append(_name(token, text, at))
        elif kind == "space":
            out.append(_space(text[: match.start()], text[at:]))
        else:
            out.append(
                {
                    "gap": _gap(text[: match.start()], text[at:]),
                    "hyphen": r"\text{-}",
                    "number": token.replace(",", "{,}"),
                    "code": rf"\texttt{{{token.strip('`')}}}",
                }.get(kind, SIGNS.get(token, token))
            )
    return "".join(out)


# Letters that stand for signs, by private characters that no docstring has.
_TIMES, _AFTER = "\ue000", "\ue001"
_SINGLE = {_TIMES: r"\times ", _AFTER: r"\circ "}


def _as_signs(text: str) -> str:
    """``x`` between numbers, sets and capitals is a product, ``o`` with " o f" a composition.

    The number of a Greek letter is its index.
    """
    text = re.sub(rf"\b({'|'.join(GREEK)})(?=\d\b)", r"\1_", text)
    text = re.sub(r"(?<=[\d)\]]) x (?=[(\[\d.])|(?<=\.) x (?=[\[.])", _TIMES, text)
    text = re.sub(r"(?:(?<=\b[A-Z])|(?<=\bd[A-Z])) x (?=d?[A-Z]\b)", _TIMES, text)
    return re.sub(r"(?<=[\w).]) o (?=[A-Za-z(.])", _AFTER, text) if " o f" in text else text


def _script(text: str, token: str, at: int) -> tuple[str, int]:
    """A sub- or superscript, and where the text goes on."""
    mark, body = token[0], token[1:]
    if body in CLOSING:
        end = _matching(text, at - 1)
        inside, at = _tex(text[at:end]), end + 1
        if mark == "_" and (more := re.match(r"[A-Za-z0-9]+", text[at:])):  # a_(i+1)j
            inside, at = f"{inside},{more.group()}", at + more.end()
        # A derivative of that order, or one of ordered values.
        if len(inside) == 1 or (mark == "^" and text[at : at + 1] == "_"):
            inside = f"({inside})"
        return f"{mark}{{{inside}}}", at
    if mark == "^" and body == "T":
        return r"^{\mathsf T}", at
    if body.lstrip("-") in NAMES:
        return f"{mark}{{{NAMES[body]}}}", at
    if len(body) > 2 and body.isalpha() and len(set(body)) > 2:
        return f"{mark}{{\\mathrm{{{body}}}}}", at
    return f"{mark}{{{body}}}", at


def _name(token: str, text: str, end: int) -> str:
    in_words = token in ("sum", "min", "max") and text[end : end + 3] == " of"
    if token in NAMES and not in_words:
        return NAMES[token]
    if len(token) == 1 and not _is_article(token, text, end):
        return token
    if len(token) == 2 and token[0] == "d" and token != "do":
        return token
    if token[0] == "d" and token[1:] in GREEK:
        return "d" + NAMES[token[1:]]
    return rf"\mathrm{{{token}}}"


def _is_article(token: str, text: str, end: int) -> bool:
    """``a`` before a word."""
    following = re.match(r" ([A-Za-z][a-z]{2,})\b", text[end:])
    return token == "a" and following is not None and following[1] not in NAMES


def _gap(before: str, after: str) -> str:
    """Two spaces or more: between equations a wide one, around a sign none."""
    return "" if re.search(r"[-+=]$", before) or re.match(r"[-+=] ", after) else r"\qquad "


def _space(before: str, after: str) -> str:
    """The space between two parts: as between words, as between factors, or none."""
    if re.search(r"[-+=<>/~*({]$|\.\.$", before) or re.match(r"[-+=<>/~*)]|\.\.|!=", after):
        return ""
    left, right = re.search(r"([A-Za-z]+)[,;:]?$", before), re.match(r"([A-Za-z]+)", after)
    word_beside = any(word and _is_word(word[1]) for word in (left, right))
    if word_beside or re.match(r"a [A-Za-z][a-z]{2}", after):
        return r"\ "
    return "" if before[-1] in ",;:|" or after[0] == "|" else r"\,"


def _is_word(name: str) -> bool:
    """Whether this is no sign of mathematics."""
    return len(name) > 1 and name not in NAMES and not (name[0] == "d" and len(name) == 2)


def _matching(text: str, start: int) -> int:
    """Where the bracket at ``start`` is closed."""
    close, depth = CLOSING[text[start]], 0
    for at in range(start, len(text)):
        depth += (text[at] == text[start]) - (text[at] == close)
        if depth == 0:
            return at
    raise ValueError(text[start:])
