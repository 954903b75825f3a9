"""Arguments that no verb understands."""

from __future__ import annotations

import random

import pytest

from iter_lightning.cli import VERBS
from tests.reliability.campaign import Campaign

pytestmark = pytest.mark.reliability


def test_unknown_verb_is_refused(campaign: Campaign) -> None:
    for verb in ("train", "", "--config", "fit ", "\0", "é" * 200):
        campaign.refused([verb], "expected one of")


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("fit", "validate", "test", "predict")])
def test_unknown_option_is_refused(campaign: Campaign, verb: str) -> None:
    rng = random.Random(verb)
    for _ in range(5):
        option = "--" + "".join(rng.choices("abcdefghij-_=. \u00e9", k=12))
        outcome = campaign.run([verb, option])
        assert outcome.status == 2
