"""One ``make local`` in a checkout at a time."""

from pathlib import Path

import pytest

from tools.local_cloud import deploy
from tools.local_cloud.steps import StepError


def test_a_second_holder_is_refused_until_the_first_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "LOCAL", tmp_path / ".local")
    for _ in range(2):
        with deploy.locked("up.lock", "Only one."):
            for _ in range(2):
                with pytest.raises(StepError, match=r"Only one\."), deploy.locked("up.lock", "Only one."):
                    pass
