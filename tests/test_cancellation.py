from __future__ import annotations

import pytest

from iter_lightning.cancellation import Cancelled, cancel_when, cancellable


def test_cancellable_portions_stop_before_the_next_one() -> None:
    done: list[int] = []
    with pytest.raises(Cancelled), cancel_when(lambda: len(done) == 2):
        done.extend(cancellable(range(5)))
    assert done == [0, 1]
    assert list(cancellable(range(3))) == [0, 1, 2]
