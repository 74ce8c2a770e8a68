"""Words and patterns that the house style bans, and a search for them in the repository."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from infra.paths import ROOT


class Finding(NamedTuple):
    """A banned phrase, or a docstring with a summary that is not imperative."""

    line: int
    found: str
    reason: str


GAP = r"[\s#/*]+"
"""The separators of two words, a line break within a comment included."""

HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""The place between two words of a name in camel case."""

BANNED: Mapping[str, re.Pattern[str]] = {
    reason: re.compile(pattern.replace(" ", GAP), re.IGNORECASE)
    for reason, pattern in {
        '"again" or "from scratch"': r"\banew\b",
        '"fix" or "repair"': r"\bmend(?:s|ed|ing)?\b",
        '"next to", "with" or "besides"': r"\bbeside\b",
        '"only" or "on its own"': r"\balone\b",
        '"compare with"': r"\b(?:hold|holds|held|holding)\b[^.;:]{0,40}? against\b",
        '"require", "need" or "expect"': r"\bwant(?:s|ed|ing)?\b",
        '"allow", "make" or a plain verb': r"\b(?:let|lets|letting)\b",
        '"may be", or a plain list': r"\bbe it\b",
        "the number": r"\bso many\b",
        '"client", "module", "entry point" or "interface"': r"\bdoors?\b",
        '"without an owner" or "of no user"': r"\bnobody's\b",
        '"forever", "indefinitely" or "without limit"': r"\bfor ever\b",
        '"ends" or "finishes"': (
            r"\b(?:come|comes|came|coming|bring|brings|brought|bringing)\b[^.;:]{0,30}?"
            r" to (?:its|their|an) ends?\b"
        ),
        '"yields" or "fails"': r"\b(?:give|gives|gave|given|giving) way\b",
        "a noun as the subject": r"\bwhat\b[^.;:]{1,60}? is what\b|\bwhoever\b",
        '"send to the dead-letter queue"': r"\b(?:bury|buries|buried|burying)\b",
        '"our event", "Stripe\'s event"': (
            r"\bof (?:ours|yours|theirs|mine|hers)\b"
            r"|\b(?:an?|the|any|every|each|no|one|this|that) [\w-]+ of [\w-]+'s"
            r"(?=[\s#]*(?:$|[.,:;)|`]"
            r"|(?:that|which|is|was|and|or|to|in|by|for|with|where|who|from|at|on|has|does)\b))"
        ),
    }.items()
}
"""The words to write instead, and the pattern of the banned words."""

ALLOWED: Mapping[str, Mapping[str, str]] = {
    "tests/support/plain_english.py": {"": "it names the words"},
    "tests/unit/test_house.py": dict.fromkeys(
        (
            *("Hold it against", "alone", "anew", "beside", "door", "for ever", "gives way"),
            *("lets", "mended", "so many", "wanted", "wants"),
        ),
        "examples for the test of this module",
    ),
    "tests/support/gemini_inputs/thought-part.json": {"wants": "Gemini's own words"},
    "tests/support/gemini_answers.py": {"wants": "Gemini's own words"},
}
"""The words that are allowed in a file, each with the reason; "" allows every word."""

DECLARATION = re.compile(r"^ *let ", re.MULTILINE)
"""The declaration of a variable in JavaScript, where the banned word is allowed."""

NOT_IMPERATIVE = re.compile(
    r"(?:what|who|whom|whose|whether|where|when|how|why|which|the|an?|all|every|each|it|its|this|that"
    r"|these|those|there|one|no|not|nobody|nothing|somebody|someone|our|any|as|if|in|on|of|for)\b"
    r"|say\b|have\b|tell whether|[a-z]+(?<!s)s\b|[a-z]+ing\b(?<!bring)|[a-z]+(?<!e)ed\b(?<!embed)",
    re.IGNORECASE,
)
"""The openings of a summary that is not imperative: a question word, an article, a third person."""

TEXTS = {
    *(".md", ".yaml", ".yml", ".toml", ".json", ".txt", ".in", ".sh", ""),
    *(".html", ".css", ".js", ".ts", ".svg"),
}
SKIPPED = re.compile(
    r"\.(?:git|venv|mypy_cache|ruff_cache|pytest_cache|hypothesis|aws-sam|local|tools)/|__pycache__/"
    r"|(?:^|/)node_modules/|^infra/requirements/|requirements[^/]*\.txt$"
    r"|swagger-ui|common_passwords\.txt$|^LICENSE$|/LICENSE$|/NOTICE$|^uv\.lock$"
)
"""Third-party files (vendored, locked, licences) and the list of passwords."""


def files(root: Path = ROOT) -> Iterator[str]:
    """Yield the path of every file that we have written, relative to the root."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not SKIPPED.search(name) and path.suffix in {".py", *TEXTS}:
            yield name


def findings(name: str, root: Path = ROOT) -> list[Finding]:
    """Return the violations of the house style in a file."""
    text = (root / name).read_text()
    if name.endswith(".py"):
        found = [*_find_banned(_comments(text)), *_in_python(ast.parse(text))]
    else:
        code = name.endswith((".js", ".ts"))
        found = list(_find_banned(HUMP.sub(" ", DECLARATION.sub("", text) if code else text)))
    allowed = ALLOWED.get(name, {})
    return sorted(each for each in found if "" not in allowed and each.found not in allowed)


def _find_banned(text: str, line: int = 1) -> Iterator[Finding]:
    for reason, pattern in BANNED.items():
        for match in pattern.finditer(text):
            if match[0] == "alone" and re.search(r"\bleav\w+ [^.]{1,40}$", text[: match.start()]):
                continue  # "leaves the others alone"
            yield Finding(
                line + text.count("\n", 0, match.start()), re.sub(GAP, " ", match[0]), reason
            )


def _comments(text: str) -> str:
    """Return only the comments of a module; every comment keeps its line number."""
    lines = [""] * (text.count("\n") + 2)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] = token.string
    return "\n".join(lines)


def _in_python(tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)):
                yield from _find_banned(text, node.lineno)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _in_name(node.name, node.lineno)
                if not node.name.startswith("test_") and not _is_read_as_value(node):
                    yield from _summary(node)
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                yield from _in_name(name, node.lineno)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield from _in_name(name, node.lineno)


def _in_name(name: str, line: int) -> Iterator[Finding]:
    return _find_banned(HUMP.sub(" ", name).replace("_", " "), line)


def _is_read_as_value(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function is read as a value: a property, or a fixture of pytest."""
    names = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    return bool(re.search(r"property|fixture", names))


def _summary(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Finding]:
    summary = (ast.get_docstring(node) or "Return.").partition("\n")[0]
    first = summary.partition(" ")[0]
    if re.match(r"(?:Return|Yield) (?:what|who|how|where)\b", summary):
        yield Finding(node.lineno, f"{node.name}: {summary}", "name the object by a noun")
    if NOT_IMPERATIVE.match(summary) or not first[:1].isupper():
        yield Finding(node.lineno, f"{node.name}: {summary}", "open with an imperative verb")
    elif re.match(r"_*(?:is|has|can)_", node.name) and not summary.startswith("Return"):
        yield Finding(node.lineno, f"{node.name}: {summary}", 'a predicate says "Return whether"')
    elif summary.startswith("Return whether") and not re.match(
        r"_*(?:is|are|has|can)_|__|of$|only$", node.name
    ):
        yield Finding(
            node.lineno, f"{node.name}: {summary}", "a predicate starts with is, has or can"
        )
