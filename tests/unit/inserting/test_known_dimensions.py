"""Dimensions that the product does not have."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from metering_handlers.inserting import known_dimensions
from metering_handlers.inserting.known_dimensions import MAX_SUGGESTIONS, load
from tests.unit.lambda_calls import Api, buyer, buyers, usage

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


def test_an_unknown_dimension_is_refused_with_the_nearest_name(api: Api, stored: "StoredItems") -> None:
    answer = api.insert_one("c", usage(metered_id_1=1, metered_1_id=1))

    assert answer.status == 422
    (error,) = answer.body["errors"]
    assert (error["pointer"], error["code"]) == ("/metered_dimensions/0/dimension_name", "unknown_dimension")
    assert error["detail"] == "is not a dimension of the product; did you mean metered_1_id?"
    assert stored.all() == []


def test_a_dimension_that_is_like_no_other_is_refused_without_a_guess(api: Api) -> None:
    (error,) = api.insert_one("c", usage(storage=1)).body["errors"]

    assert error["detail"] == "is not a dimension of the product"


def test_unknown_dimensions_are_named_with_whatever_else_is_wrong(api: Api, stored: "StoredItems") -> None:
    answer = api.insert_many(
        buyers(
            buyer("c", metered_1_id=2_147_483_647),
            buyer("c", metered_1_id=1, nope=1),
            buyer("d", metered_1_id=1),
            buyer("e", other=1),
        )
    )

    assert answer.problem_codes() == {
        ("/buyers/1/metered_dimensions/0/dimension_value", "sum_too_large"),
        ("/buyers/1/metered_dimensions/1/dimension_name", "unknown_dimension"),
        ("/buyers/3/metered_dimensions/0/dimension_name", "unknown_dimension"),
    }
    assert stored.all() == []


def test_a_large_request_of_unknown_dimensions_gets_a_few_guesses(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes milliseconds, and the answer has to be in time."""
    looked_up: list[str] = []

    def look_up(name: str, *_: object, **__: object) -> list[str]:
        looked_up.append(name)
        return ["metered_1_id"]

    monkeypatch.setattr(known_dimensions, "get_close_matches", look_up)
    numbers = (*range(100, 500), *range(100, 500))

    errors = api.insert_many(buyers(*(buyer(f"c{number}", **{f"m{number}": 1}) for number in numbers))).body[
        "errors"
    ]

    assert looked_up == [f"m{number}" for number in range(100, 100 + MAX_SUGGESTIONS)]
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
