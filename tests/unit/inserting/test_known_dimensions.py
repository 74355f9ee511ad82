"""Dimensions that the product does not have."""

import json
from pathlib import Path

import pytest

from metering_handlers.contract.limits import MAX_QUANTITY
from metering_handlers.inserting import known_dimensions
from metering_handlers.inserting.known_dimensions import MAX_SUGGESTIONS, load
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import Deploy
from tests.unit.lambda_calls import Api, buyer, buyers, usage


@pytest.fixture(autouse=True)
def product(deploy: Deploy) -> None:
    """A product of as many and as long names as the deployment is to take."""
    names = [f"product_dimension_{number:03d}_{'x' * 38}" for number in range(199)]
    deploy(dimensions=frozenset({*names, "metered_1_id"}))


def test_a_known_dimension_is_accepted(api: Api) -> None:
    assert api.insert_one("c", usage(metered_1_id=1)).status == 200


def test_an_unknown_dimension_is_refused_with_the_nearest_name(api: Api, stored: StoredItems) -> None:
    answer = api.insert_one("c", usage(metered_id_1=1, metered_1_id=1, storage=1))

    assert answer.status == 422
    assert [(error["pointer"], error["code"], error["detail"]) for error in answer.body["errors"]] == [
        (f"/metered_dimensions/{position}/dimension_name", "unknown_dimension", detail)
        for position, detail in [
            (0, "is not a dimension of the product; did you mean metered_1_id?"),
            (2, "is not a dimension of the product"),
        ]
    ]
    assert stored.all() == []


def test_unknown_dimensions_are_reported_with_other_violations(api: Api) -> None:
    answer = api.insert_many(
        buyers(
            buyer("c", metered_1_id=MAX_QUANTITY),
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


def test_only_the_first_few_unknown_names_get_a_suggestion(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes milliseconds, and the answer has to be in time."""
    looked_up: list[str] = []

    def look_up(name: str, *_: object, **__: object) -> list[str]:
        looked_up.append(name)
        return ["metered_1_id"]

    monkeypatch.setattr(known_dimensions, "get_close_matches", look_up)
    names = [f"m{number}" for number in range(100, 500)] * 2

    answer = api.insert_many(buyers(*(buyer(name, **{name: 1}) for name in names)))

    assert looked_up == names[:MAX_SUGGESTIONS]
    hinted = [
        name for name, error in zip(names, answer.body["errors"], strict=True) if "mean" in error["detail"]
    ]
    assert hinted == looked_up * 2


def test_without_a_list_every_dimension_is_accepted(api: Api, deploy: Deploy) -> None:
    deploy(dimensions=None)

    assert api.insert_one("c", usage(anything=1)).status == 200


def test_the_list_is_read_from_the_bundle(tmp_path: Path) -> None:
    file = tmp_path / "dimensions.json"
    assert load(file) is None

    file.write_text(json.dumps(["a", "é"]), encoding="utf-8")
    assert load(file) == frozenset({"a", "é"})
