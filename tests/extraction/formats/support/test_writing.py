"""Names of types in the characters of a format."""

from __future__ import annotations

from iter_lightning.extraction.formats.support.writing import SafeNames


def test_safe_names_of_different_names_differ() -> None:
    names = SafeNames(r"[^A-Za-z0-9_-]", ["Lives/In", "Lives In", "Lives_In", "", "_"])
    assert dict(names.items()) == {
        "Lives/In": "Lives_In_2", "Lives In": "Lives_In_3", "Lives_In": "Lives_In", "": "__2", "_": "_",
    }  # fmt: skip
    assert names("Lives?In") == "Lives_In_4"
    assert names.changed() == [
        "'Lives/In' is Lives_In_2", "'Lives In' is Lives_In_3", "'' is __2", "'Lives?In' is Lives_In_4",
    ]  # fmt: skip
