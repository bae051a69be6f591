"""An item as a journal row and back. Pure: texts and numbers in, texts and numbers out."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from hitpaw_async._core.foreign_json import OPTIONAL_NUMBER, OPTIONAL_TEXT, Kinds, object_of
from hitpaw_async._core.itemstate import Item, Problem
from hitpaw_async._core.renewal import is_waiting
from hitpaw_async._errors import bug_in
from hitpaw_async._redact import redact_url
from hitpaw_async.errors import HitPawError, JournalError
from hitpaw_async.models import ExportRequest, ItemState, Resolution, VideoFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHANGING", "COLUMNS", "from_row", "is_count", "to_changes", "to_forgetful_request", "to_request", "to_row"]

COLUMNS: Final = (
    "key",
    "priority",
    "state",
    "request",
    "target",
    "reserved_credits",
    "charged_credits",
    "written_off_credits",
    "job_id",
    "attempts",
    "hook_digest",
    "resubmissions",
    "problem",
    "path",
    "queued_at",
    "submitted_at",
    "converting_at",
    "completed_at",
    "finished_at",
    "run",
    "version",
    "minute_credits",
)
"""A row's columns, in order."""

CHANGING: Final = tuple(name for name in COLUMNS if name not in ("key", "priority", "request", "target", "queued_at"))
"""What changes of a row. Of its request only what is forgotten does: see `to_forgetful_request`."""

_NEEDS_URL: Final = frozenset({ItemState.SUBMITTING, ItemState.UNCERTAIN})
"""States, beside those that wait, from which an item may yet be submitted."""

_NEEDS_JOB: Final = frozenset({ItemState.SUBMITTED, ItemState.FETCHING})
"""States in which the vendor is asked for the job."""

_TEXTS: Final = ("target", "job_id", "hook_digest", "path")
_COUNTS: Final = (
    "reserved_credits",
    "charged_credits",
    "written_off_credits",
    "attempts",
    "resubmissions",
    "run",
    "version",
)
_MOMENTS: Final = ("queued_at", "submitted_at", "converting_at", "completed_at", "finished_at")

COUNT_MAX: Final = 1 << 53
"""More credits than there are, and yet summed up without an overflow."""

MOMENT_MAX_S: Final = 253_402_300_799.0
"""The end of the year 9999, beyond which there are no dates."""

_HIDING_MARKS: Final = "?#@"
"""What a URL has one of, where it has a query, a fragment, or a user name and a password."""


_OF_PROBLEM: Final[dict[str, Kinds]] = {"kind": (str,), "message": (str,), "code": (int, NoneType)}

_OF_FACTS: Final[dict[str, Kinds]] = {
    **dict.fromkeys(("duration_s", "duration_max_s", "width", "height", "size_bytes"), OPTIONAL_NUMBER),
    **dict.fromkeys(("width_max", "height_max"), OPTIONAL_NUMBER),
    **dict.fromkeys(("frame_rate", "peak_frame_rate", "frame_rate_max"), (str, *OPTIONAL_NUMBER)),
    **dict.fromkeys(("container", "codec"), OPTIONAL_TEXT),
}

_OF_REQUEST: Final[dict[str, Kinds]] = {
    **dict.fromkeys(("video_url", "resolution", "extension"), (str,)),
    **dict.fromkeys(("web_hook_url", "model_name", "original_resolution", "key", "_identity"), OPTIONAL_TEXT),
    "model": (int, NoneType),
    "facts": (dict, NoneType),
    "metadata": (dict,),
    "priority": (int,),
}
"""Of what kinds the values of a row's JSON are: its names are those of the values' fields."""


def _new_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Fraction, str)
    converter.register_structure_hook(Fraction, lambda value, _: Fraction(value))
    converter.register_unstructure_hook(Resolution, str)
    converter.register_structure_hook(Resolution, lambda value, _: Resolution.parse(value))
    for kind in (ExportRequest, VideoFacts):
        converter.register_unstructure_hook(
            kind, make_dict_unstructure_fn(kind, converter, _cattrs_omit_if_default=True, _cattrs_use_alias=True)
        )
    converter.register_structure_hook(
        ExportRequest, make_dict_structure_fn(ExportRequest, converter, _cattrs_use_alias=True)
    )
    return converter


_CONVERTER: Final = _new_converter()


def to_row(item: Item) -> tuple[Any, ...]:
    """The values of `COLUMNS` for an item."""
    values = dict(zip(CHANGING, to_changes(item), strict=True))
    values |= {
        "key": item.key,
        "priority": item.request.priority,
        "request": to_request(item),
        "target": item.target,
        "queued_at": item.queued_at,
    }
    return tuple(values[name] for name in COLUMNS)


def _stored_path(path: str | None) -> str | bytes | None:
    """A result's path as a column takes it: one that is no UTF-8 (an old disk, an unpacked archive) as its bytes."""
    if path is None:
        return None
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def to_changes(item: Item) -> tuple[Any, ...]:
    """The values of `CHANGING` for an item."""
    problem = None if item.problem is None else json.dumps(_CONVERTER.unstructure(item.problem))
    return (
        str(item.state),
        item.reserved_credits,
        item.charged_credits,
        item.written_off_credits,
        item.job_id,
        item.attempts,
        item.hook_digest,
        item.resubmissions,
        problem,
        _stored_path(item.path),
        item.submitted_at,
        item.converting_at,
        item.completed_at,
        item.finished_at,
        item.run,
        item.version,
        item.minute_credits,
    )


def _needs_url(item: Item) -> bool:
    """Whether an item may yet be submitted. Of all others the URL's query (its signature) is forgotten."""
    return item.state in _NEEDS_URL or is_waiting(item)


def to_forgetful_request(item: Item) -> str | None:
    """What takes the place of an item's request once its URLs' secrets are no longer needed; None where it stays."""
    urls = (item.request.video_url, item.request.web_hook_url or "")
    if _needs_url(item) or not any(mark in url for url in urls for mark in _HIDING_MARKS):
        return None
    return to_request(item)


def to_request(item: Item) -> str:
    """An item's request as a journal keeps it: without its URLs' secrets once they are no longer needed."""
    request: dict[str, Any] = _CONVERTER.unstructure(item.request)
    request.pop("priority", None)
    request["key"] = item.key
    if not _needs_url(item):
        if "?" in item.request.video_url:
            request["_identity"] = item.request.identity
        request["video_url"] = redact_url(item.request.video_url)
        if item.request.web_hook_url is not None:
            request["web_hook_url"] = redact_url(item.request.web_hook_url)
    return json.dumps(request)


def is_count(value: object) -> bool:
    """Whether a value can be a number of credits, attempts or changes: SQLite keeps anything in any column."""
    return isinstance(value, int) and 0 <= value <= COUNT_MAX


def _is_moment(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= MOMENT_MAX_S


def _require_sound(fields: dict[str, Any], state: ItemState) -> None:
    """Check the kinds of all values that are taken as they stand.

    Raises:
        ValueError: One is none of ours.
    """
    is_sound = (
        bool(fields["key"])
        and isinstance(fields["key"], str)
        and all(isinstance(fields[name], str | None) for name in _TEXTS)
        and "\0" not in (fields["path"] or "")
        and all(is_count(fields[name]) for name in _COUNTS)
        and (fields["minute_credits"] is None or is_count(fields["minute_credits"]))
        and all(fields[name] is None or _is_moment(fields[name]) for name in _MOMENTS)
        and (state not in _NEEDS_JOB or bool(fields["job_id"]))
    )
    if not is_sound:
        raise ValueError(state)


def from_row(row: Sequence[Any]) -> Item:
    """The item of a row.

    Raises:
        JournalError: The row is damaged.
        InternalError: A bug is in the way: nothing is known against the row.
    """
    fields: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
    key = fields["key"]
    try:
        return _item_of(fields)
    except (ValueError, RecursionError, HitPawError, cattrs.BaseValidationError) as error:
        failure = bug_in(error)
    raise failure or JournalError(
        f"The journal's row of {ascii(key)[:80]} is damaged. Restore the journal from a copy; "
        "do not submit its videos again before you know what was charged."
    )


def _item_of(fields: dict[str, Any]) -> Item:
    texts = {name: fields.pop(name) for name in ("request", "priority", "problem", "state")}
    if isinstance(fields["path"], bytes):
        fields["path"] = os.fsdecode(fields["path"])
    told = {**_json_object(texts["request"]), "priority": texts["priority"]}
    told = object_of(told, _OF_REQUEST, required=("video_url", "resolution"))
    if told.get("facts") is not None:
        object_of(told["facts"], _OF_FACTS)
    request = _CONVERTER.structure(told, ExportRequest)
    problem = None
    if texts["problem"] is not None:
        described = object_of(_json_object(texts["problem"]), _OF_PROBLEM, required=("kind", "message"))
        problem = _CONVERTER.structure(described, Problem)
    state = ItemState(texts["state"])
    _require_sound(fields, state)
    return Item(request=request, state=state, problem=problem, **fields)


def _json_object(text: object) -> dict[str, Any]:
    if not isinstance(text, str):
        raise ValueError("a text was expected")  # noqa: TRY004 (foreign data)
    return object_of(json.loads(text), {})
