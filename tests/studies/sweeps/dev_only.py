"""A corpus that cannot be tested: whatever would predict or score its test split fails."""

from __future__ import annotations

from typing import Any, NoReturn

from iter_lightning.features import EncodedExample
from iter_lightning.training.datamodules import Custom


class DevOnly(Custom):
    """As `Custom`, but no sentence of the test split is ever encoded or served.

    `fit` reads the split for its digest in the manifest; nothing can be predicted that was not encoded.
    """

    def encoded(self, split: str) -> list[EncodedExample]:
        if split == "test":
            self._refuse()
        return super().encoded(split)

    def test_dataloader(self) -> Any:
        self._refuse()

    def predict_dataloader(self) -> Any:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise AssertionError("the test split was touched")
