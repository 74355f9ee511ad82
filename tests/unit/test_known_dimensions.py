"""Dimensions that the product does not have."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metering_handlers import known_dimensions
from metering_handlers.known_dimensions import MAX_SUGGESTIONS, load
from tests.unit.lambda_calls import Api, buyer, usage

if TYPE_CHECKING:
    from tests.unit.conftest import StoredItems

# As many and as long as the deployment is to take.
DIMENSIONS = [f"product_dimension_{number:03d}_{'x' * 38}" for number in range(199)] + ["metered_1_id"]


@pytest.fixture(autouse=True)
def product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_dimensions, "KNOWN_DIMENSIONS", frozenset(DIMENSIONS))


def test_a_known_dimension_is_taken(api: Api, stored: "StoredItems") -> None:
    assert api.insert_one("c", usage(metered_1_id=1)).status == 200
    assert len(stored.all()) == 1


def test_an_unknown_dimension_is_refused_with_the_name_that_was_probably_meant(
    api: Api, stored: "StoredItems"
) -> None:
    answer = api.insert_one("c", usage(metered_id_1=1, metered_1_id=1))

    assert answer.status == 422
    (error,) = answer.body["errors"]
    assert (error["pointer"], error["code"]) == ("/metered_dimensions/0/dimension_name", "unknown_dimension")
    assert error["detail"] == "is not a dimension of the product; did you mean metered_1_id?"
    assert stored.all() == []


def test_a_dimension_that_is_like_no_other_is_refused_without_a_guess(api: Api) -> None:
    (error,) = api.insert_one("c", usage(storage=1)).body["errors"]

    assert error["detail"] == "is not a dimension of the product"


def test_every_unknown_dimension_is_named_together_with_whatever_else_is_wrong(
    api: Api, stored: "StoredItems"
) -> None:
    answer = api.insert_many(
        {
            "buyers": [
                buyer("c", metered_1_id=-1, nope=1),
                buyer("d", metered_1_id=1),
                buyer("e", other=1),
            ]
        }
    )

    assert answer.problem_codes() == {
        ("/buyers/0/metered_dimensions/0/dimension_value", "too_small"),
        ("/buyers/0/metered_dimensions/1/dimension_name", "unknown_dimension"),
        ("/buyers/2/metered_dimensions/0/dimension_name", "unknown_dimension"),
    }
    assert stored.all() == []


def test_a_large_request_of_unknown_dimensions_gets_a_few_guesses_and_its_answer_in_time(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []

    def look_up(name: str, *_: object, **__: object) -> list[str]:
        looked_up.append(name)
        return ["metered_1_id"]

    monkeypatch.setattr(known_dimensions, "get_close_matches", look_up)
    buyers = [buyer("c", **{f"metered_{number}_id": 1}) for number in (*range(100, 500), *range(100, 500))]

    errors = api.insert_many({"buyers": buyers}).body["errors"]

    assert looked_up == [f"metered_{number}_id" for number in range(100, 100 + MAX_SUGGESTIONS)]
    guessed = [
        number for number, error in enumerate(errors) if "did you mean metered_1_id?" in error["detail"]
    ]
    assert guessed == [*range(MAX_SUGGESTIONS), *range(400, 400 + MAX_SUGGESTIONS)]


def test_without_a_list_every_dimension_is_taken(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_dimensions, "KNOWN_DIMENSIONS", None)

    assert api.insert_one("c", usage(anything=1)).status == 200


def test_the_list_is_what_the_bundle_has(tmp_path: Path) -> None:
    file = tmp_path / "dimensions.json"
    assert load(file) is None

    file.write_text(json.dumps(["a", "é"]), encoding="utf-8")
    assert load(file) == frozenset({"a", "é"})
