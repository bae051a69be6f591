"""Foreign data is refused in words; what fails on data whose kinds are right is a bug, and says so."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import TYPE_CHECKING, Any

import attrs
import cattrs
import pytest

from hitpaw_async import APIError, InternalError, JournalError, ProtocolError
from hitpaw_async._core import durations
from hitpaw_async._core import poll_plan as pollplan
from hitpaw_async._core.foreign_json import figures_of, object_of
from hitpaw_async._core.itemstate import Item, Problem
from hitpaw_async._core.poll_plan import PollPlan
from hitpaw_async._core.protocol import fields as protocol
from hitpaw_async._core.protocol.messages import Reply
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._errors import bug_in
from hitpaw_async.batch.journal import rows as _rows
from hitpaw_async.batch.journal.rows import COLUMNS, from_row, to_row
from hitpaw_async.cli.inputs import videos as inputs
from hitpaw_async.cli.inputs.rows import Row
from hitpaw_async.cli.settings import batch as settings
from hitpaw_async.cli.settings.batch import BatchSettings
from hitpaw_async.models import ExportRequest, ItemState, VideoFacts
from hitpaw_async.policies import PollPolicy
from tests.core.values import a_request
from tests.test_bugs import BUGS, raising

if TYPE_CHECKING:
    from collections.abc import Callable

ODD: list[Any] = [None, True, 0, -1, 10**400, 1.5, float("nan"), "", "x", "1/0", [], [1], [None], {}, {"a": 1}]
each_bug = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: type(bug).__name__)


@pytest.mark.parametrize(
    ("value", "is_good"),
    [
        ({"a": 1, "b": None}, True),
        ({"a": 1, "other": []}, True),
        ({"a": 1.0}, False),
        ({"a": True}, False),
        ({"a": None}, False),
        ({"b": None}, False),
        ([], False),
        (None, False),
        ("a", False),
    ],
)
def test_an_object_has_values_of_the_kinds_that_are_named(value: object, is_good: bool) -> None:
    kinds = {"a": (int,), "b": (str, type(None))}
    if is_good:
        assert object_of(value, kinds, required=("a",)) is value
    else:
        with pytest.raises(ValueError, match="not"):
            object_of(value, kinds, required=("a",))


@pytest.mark.parametrize("value", [None, 1, "12", {"a": 1}, [None], [True], ["1"], [[1]], [10**400]])
def test_a_list_of_numbers_has_nothing_else(value: object) -> None:
    with pytest.raises(ValueError, match="not"):
        figures_of(value)


def test_a_list_of_numbers_becomes_floats() -> None:
    assert figures_of([1, 2.5]) == [1.0, 2.5]


def aliases(kind: type[Any]) -> set[str]:
    return {field.alias for field in attrs.fields(kind)}


def test_the_kinds_of_all_fields_are_named() -> None:
    """A field that is added is looked at, too."""
    assert _rows._OF_REQUEST.keys() == aliases(ExportRequest)
    assert _rows._OF_FACTS.keys() == aliases(VideoFacts)
    assert _rows._OF_PROBLEM.keys() == aliases(Problem)
    assert settings._KINDS.keys() == aliases(BatchSettings)


def a_row(**changes: Any) -> tuple[Any, ...]:
    facts = VideoFacts(duration_s=3.5, frame_rate="30000/1001", width=640, height=360, container="mp4")
    request = a_request(facts=facts, metadata={"mine": "1"}, web_hook_url="https://hooks.test/a")
    row = to_row(Item(key="a", request=request, state=ItemState.FAILED, problem=Problem("Kind", "It failed.", 7)))
    return tuple(changes.get(name, value) for name, value in zip(COLUMNS, row, strict=True))


def spoiled(text: str, name: str, value: object) -> str:
    told = json.loads(text)
    if name.startswith("facts."):
        told["facts"][name.partition(".")[2]] = value
    else:
        told[name] = value
    return json.dumps(told)


def said_of(read: Callable[[], object]) -> str | None:
    """Why something can't be read; None where it can."""
    try:
        read()
    except JournalError as error:
        return str(error)
    return None


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize(
    "name", [*_rows._OF_REQUEST, *(f"facts.{name}" for name in _rows._OF_FACTS), "problem", "priority", "whole"]
)
def test_a_row_of_anything_is_an_item_or_damaged(name: str, value: Any) -> None:
    fields = dict(zip(COLUMNS, a_row(), strict=True))
    if name == "priority":
        row = a_row(priority=value)
    elif name == "problem":
        row = a_row(problem=value if isinstance(value, str | None) else json.dumps(value))
    elif name == "whole":
        row = a_row(request=json.dumps(value))
    else:
        row = a_row(request=spoiled(fields["request"], name, value))
    said = said_of(lambda: from_row(row))
    assert said is None or "is damaged" in said


@pytest.mark.parametrize("name", ["request", "problem", "state", "key", "path", "job_id"])
@pytest.mark.parametrize("value", [1, 1.5, b"\xff", b"{}", "{", "[]"], ids=repr)
def test_a_column_of_anything_is_an_item_or_damaged(name: str, value: Any) -> None:
    said = said_of(lambda: from_row(a_row(**{name: value})))
    assert said is None or "is damaged" in said


def test_what_was_kept_comes_back() -> None:
    assert from_row(a_row()).request.facts == VideoFacts(
        duration_s=3.5, frame_rate="30000/1001", width=640, height=360, container="mp4"
    )


@each_bug
@pytest.mark.parametrize("place", ["hitpaw_async.models.Resolution.parse", "hitpaw_async._validators.to_metadata"])
def test_a_bug_while_a_row_is_read_is_no_damage(bug: Exception, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = a_row()
    if place.endswith("parse"):
        monkeypatch.setattr(place, raising(bug))
    else:
        monkeypatch.setattr(_rows, "_CONVERTER", Converter(grouped(bug)))
    with pytest.raises(InternalError, match="bug in hitpaw-async"):
        from_row(row)


class Converter:
    """Has a bug in it."""

    def __init__(self, bug: Exception) -> None:
        self.structure = raising(bug)


def grouped(bug: Exception) -> Exception:
    return cattrs.ClassValidationError("While structuring", [cattrs.ClassValidationError("", [bug], Item)], Item)


def test_a_group_without_a_bug_has_none() -> None:
    assert bug_in(cattrs.ClassValidationError("", [ValueError("x")], Item)) is None
    assert isinstance(bug_in(grouped(KeyError("x"))), InternalError)


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("name", [*settings._KINDS, "whole"])
def test_settings_of_anything_are_some_or_are_refused(name: str, value: Any) -> None:
    told: Any = attrs.asdict(BatchSettings(base_url="https://a.test", output="/out"))
    told = value if name == "whole" else {**told, name: value}
    said = said_of(lambda: BatchSettings.from_json(json.dumps(told)))
    assert said is None or "can't be understood" in said


@each_bug
def test_a_bug_while_settings_are_read_is_no_damage(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    text = BatchSettings(base_url="https://a.test", output="/out").to_json()
    monkeypatch.setattr(cattrs, "structure", raising(grouped(bug)))
    with pytest.raises(InternalError):
        BatchSettings.from_json(text)


def a_plan() -> PollPlan:
    return PollPlan(PollPolicy())


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path]
    if isinstance(value, dict):
        found += [place for name, each in value.items() for place in paths(each, (*path, name))]
    elif isinstance(value, list):
        found += [place for number, each in enumerate(value[:2]) for place in paths(each, (*path, number))]
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    made = copy.deepcopy(value)
    inner = made
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = new
    return made


def test_a_plan_of_anything_is_one() -> None:
    told = json.loads(a_plan().to_text())
    for path in paths(told):
        for odd in ODD:
            text = json.dumps(replaced(told, path, odd))
            assert isinstance(PollPlan.from_text(PollPolicy(), text), PollPlan)


@each_bug
@pytest.mark.parametrize("place", [(pollplan, "figures_of"), (durations, "figures_of")])
def test_a_bug_while_a_plan_is_read_does_not_begin_it_anew(
    bug: Exception, place: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = a_plan().to_text()
    monkeypatch.setattr(*place, raising(bug))
    with pytest.raises(type(bug)):
        PollPlan.from_text(PollPolicy(), text)


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("name", ["job_id", "status", "res_url", "consume_coins", "code", "error_code", "data"])
def test_a_reply_of_anything_is_a_job_or_is_not_understood(name: str, value: Any) -> None:
    told = {"code": 200, "data": {"job_id": "j", "status": "WAITING", name: value}, name: value}
    reply = Reply(status_code=200, body=json.dumps(told).encode())
    with contextlib.suppress(ProtocolError, APIError):
        V3.decode_task(reply, job_id="j")


@each_bug
def test_a_bug_while_a_reply_is_read_says_nothing_of_the_vendor(
    bug: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_CONVERTER", Converter(bug))
    with pytest.raises(type(bug)):
        V3.decode_task(Reply(status_code=200, body=b'{"job_id": "j", "status": "WAITING"}'), job_id="j")


CELLS = ["video_url", "model", "resolution", "extension", "key", "priority", *inputs._FACTS]


def made_of(**fields: Any) -> ExportRequest | tuple[str, ...]:
    row = Row(7, {"video_url": "https://a.test/a.mp4", **fields})
    return inputs._of_row(row, inputs.Defaults(model=17, resolution="1280x720"))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("name", CELLS)
def test_a_cell_of_anything_is_a_request_or_a_sentence(name: str, value: Any) -> None:
    made = made_of(**{name: value})
    if not isinstance(made, ExportRequest):
        assert made
        assert all(isinstance(sentence, str) and sentence.isprintable() for sentence in made)


def test_a_bug_while_a_list_is_read_is_no_slip_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(_: object) -> None:
        raise TypeError("unsupported operand")

    monkeypatch.setattr("hitpaw_async.models.Resolution.parse", parse)
    with pytest.raises(TypeError):
        made_of(resolution="1x1")
