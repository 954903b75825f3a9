"""Check that docstrings, comments, and messages are plain American English, and run the doctests."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "iter_lightning"
BANNED = {
    "British spelling": r"""
        \b(?: optimis | initialis | normalis | tokenis | vectoris | recognis | organis | summaris | serialis | quantis
        | synchronis | minimis | maximis | generalis | utilis | analys(?=e[sd]?\b|ing) | capitalis | emphasis(?=e|ing)
        | catalogue | licenc | (?:mis)?behaviour | artefact | colour | favour | honour | neighbour | labell | modell
        | travell | centre | fibre | defence | grey\b | whilst | amongst | towards
        )""",
    "'told' or 'tells' for reporting": r"\btold\b | \btells\b",
    "'anew'": r"\banew\b",
    "indefinite persons": r"\b(?: whoever | nobody | somebody | no\ one )\b",
    "'so many' or 'so much' as a number": r"\bso\ (?: many | much )\b",
    "'is no X'": r"(?<!there\ )\b(?: is | are )\ no\b(?!\ (?: longer | more )\b)",
    "'none of' for an invalid choice": r"(?<!there\ )\b(?: is | are )\ (?-i:none)\b",
    "'where it' for if or when": r"\bwhere\ (?: it | they | there | that )\b",
    "'as it is'": r"(?<!soon\ )\bas\ (?: it\ is | they\ are )\b",
    "programs that believe, want, or know": r"(?<!you\ )\b(?: believes? | wants? | knows )\b",
}
ALLOWED = {
    "corpora/synthetic_lexicon.py": r"told reporters|Harbours|neighbours",  # sentences of the corpus
    "corpora/catalog.py": r"catalog\.ldc",
    "studies/sweeps/journal.py": r"\"told\"|^told$",  # an event of journals that exist
}
"""Texts that are data, by file."""


def covered_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments and strings of a file with their line numbers."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("path", covered_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_text_of_covered_files_has_no_banned_words(path: Path) -> None:
    allowed = ALLOWED.get(str(path.relative_to(PACKAGE)))
    found = []
    for line, text in texts(path.read_text(encoding="utf-8")):
        cleaned = re.sub(allowed, "", text) if allowed else text
        for rule, pattern in BANNED.items():
            match = re.search(pattern, cleaned, re.IGNORECASE | re.VERBOSE)
            if match:
                context = cleaned[max(0, match.start() - 30) : match.end() + 30].replace("\n", " ")
                found.append(f"{path.name}:{line}: {rule}: ...{context}...")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "the optimiser", "Colours of types", "none is told", "start anew", "for whoever reads", "nobody reads it",
        "at most so many bytes", "'x' is no corpus", "precision is none of fp32", "stop where it ends",
    ],
)  # fmt: skip
def test_banned_words_are_found(text: str) -> None:
    assert any(re.search(pattern, text, re.IGNORECASE | re.VERBOSE) for pattern in BANNED.values())


@pytest.mark.parametrize(
    "text",
    [
        "an optimizer",
        "the file is no longer there",
        "analysis.json",
        "emphasis",
        "there are none",
        "licensed",
        "centers",
    ],
)
def test_plain_words_are_not_banned(text: str) -> None:
    assert not any(re.search(pattern, text, re.IGNORECASE | re.VERBOSE) for pattern in BANNED.values())


def test_doctests_of_covered_modules_pass() -> None:
    attempted = failed = 0
    for path in covered_files():
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[-1] in ("__main__", "worker"):
            continue
        module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
        result = doctest.testmod(module)
        attempted, failed = attempted + result.attempted, failed + result.failed
    assert attempted > 20
    assert not failed


PACKAGES = ("", ".corpora", ".features", ".metrics", ".model", ".extraction.page", ".training", ".studies")


def public_objects() -> Iterator[tuple[str, object]]:
    """Yield the functions and classes in `__all__` of covered packages, if their module is covered, too."""
    covered = {str(path) for path in covered_files()}
    for package in PACKAGES:
        module = importlib.import_module(f"iter_lightning{package}")
        for name in module.__all__:
            value = getattr(module, name)
            if (inspect.isclass(value) or inspect.isfunction(value)) and inspect.getsourcefile(value) in covered:
                yield f"{module.__name__}.{name}", value


def test_public_names_have_google_docstrings_with_an_example() -> None:
    missing = []
    for name, value in public_objects():
        text = inspect.getdoc(value) or ""
        sections = ["Example:"]
        if inspect.isfunction(value):
            sections += ["Returns:"] + (["Args:"] if inspect.signature(value).parameters else [])
        missing += [f"{name}: {section}" for section in sections if f"\n{section}" not in text]
    assert not missing
