"""Tiny numbers become 0 in training: arithmetic with them is slow on the CPU."""

from pathlib import Path

import pytest
import torch
from runs import LINEAR, train

from d2lcli.training import session


def smallest() -> float:
    return float(torch.tensor(2e-38) * 0.1)


def test_numbers_are_flushed_in_training_and_not_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    build = session.build
    monkeypatch.setattr(
        session, "build", lambda *args, **options: (found.append(smallest()), build(*args, **options))[1]
    )
    train(tmp_path / "run", *LINEAR)
    assert found == [0.0] and smallest() > 0
