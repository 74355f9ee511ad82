"""One ``make local`` in a checkout at a time."""

from pathlib import Path

import pytest

from tools.local_cloud import deploy
from tools.local_cloud.deploy import only_api_up
from tools.local_cloud.steps import StepError


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "LOCAL", tmp_path / ".local")


def test_a_second_one_says_that_one_is_running_and_leaves_it_alone() -> None:
    with only_api_up():
        for _ in range(2):
            with pytest.raises(StepError, match="already running in this checkout"), only_api_up():
                pass


def test_another_one_may_start_when_the_first_has_stopped() -> None:
    for _ in range(2):
        with only_api_up():
            pass
