"""The fields of a reply: JSON read strictly, kinds checked, and the job that an export's reply announces.

A null, list or number is not a job id, and a bool is not a code. For any bytes, reading them either succeeds
or raises a `ProtocolError`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import attrs
import cattrs

from hitpaw_async import errors
from hitpaw_async._core.protocol.messages import is_job_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hitpaw_async._core.protocol.messages import Reply

__all__ = ["CREDITS_MAX", "WireCodes", "WireJob", "announced_job", "job_fields", "json_object", "structured", "to_json"]

CREDITS_MAX: Final = 10**9
CODE_MAX: Final = 10**9
NESTING_MAX: Final = 8
"""Depth in an export's reply down to which a job id is searched."""


@attrs.frozen
class WireJob:
    """The fields of a job, flat or inside `data`. Kinds are enforced by `_CONVERTER`."""

    job_id: str | None = None
    status: str | None = None
    res_url: str | None = None
    consume_coins: int | None = None


def _bounded(_: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    # A journal keeps codes, and SQLite has 64 bits for them.
    if value is not None and abs(value) > CODE_MAX:
        raise ValueError(f"{attribute.name} is out of range")


@attrs.frozen
class WireCodes:
    code: int | None = attrs.field(default=None, validator=_bounded)
    error_code: int | None = attrs.field(default=None, validator=_bounded)


class _WrongKindError(ValueError):
    """A field of a reply has the wrong kind."""


def _exact(kind: type) -> Any:
    def structure(value: object, _: object) -> object:
        if type(value) is not kind:
            raise _WrongKindError(f"expected {kind.__name__}, not {type(value).__name__}")
        return value

    return structure


# cattrs would turn null into 'None' and True into 1; a job id that was never given must not come into being here.
_CONVERTER: Final = cattrs.Converter(detailed_validation=False)
for _kind in (str, int):
    _CONVERTER.register_structure_hook(_kind, _exact(_kind))

_Wire = TypeVar("_Wire", WireJob, WireCodes)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: `json` makes new ones for each text that asks for anything but its defaults.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False)
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def to_json(fields: Mapping[str, object]) -> bytes:
    return _ENCODER.encode(fields).encode("ascii")


def json_object(reply: Reply) -> dict[str, object]:
    value: object = None
    is_json = True
    try:
        value = _DECODER.decode(reply.body.decode("utf-8"))
    except (ValueError, RecursionError):
        # ValueError: not UTF-8, not JSON, NaN, an integer of thousands of digits. RecursionError: thousands of
        # brackets.
        is_json = False
    if not is_json:
        # Raised outside the handler: the original would hang on as __context__, and it holds the whole body.
        raise errors.ProtocolError("The reply is not JSON.", reply.excerpt())
    if not isinstance(value, dict):
        raise errors.ProtocolError("The reply is not a JSON object.", reply.excerpt())
    return value


def structured(fields: Mapping[str, object], kind: type[_Wire], reply: Reply) -> _Wire:
    try:
        return _CONVERTER.structure(fields, kind)
    except ValueError as error:
        reason = str(error)
    # Raised outside the handler: the original would hang on as __context__, and its frames hold the whole body.
    raise errors.ProtocolError(f"The reply has a field of the wrong kind ({reason}).", reply.excerpt())


def job_fields(fields: Mapping[str, object], reply: Reply) -> WireJob:
    data = fields.get("data")
    if data is None:
        return structured(fields, WireJob, reply)
    if not isinstance(data, dict):
        raise errors.ProtocolError("The reply's data is not a JSON object.", reply.excerpt())
    # The document's text has the fields at the top, its sample has them inside `data`: inside wins, the top fills in.
    top = {name: fields[name] for name in ("job_id", "status", "res_url") if name in fields}
    return structured({**top, **data}, WireJob, reply)


@attrs.frozen
class _Announced:
    """The job that an export's reply names, regardless of the rest of the reply."""

    job_id: str | None = None
    has_oddity: bool = False
    """True if there is a job id that can't be one: then no refusal is certain."""
    credits: int | None = None


def announced_job(reply: Reply) -> _Announced:
    """Find the job id in an export's reply: inside `data`, at the top, or the only one at any depth."""
    try:
        body = json.loads(reply.body, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return _Announced()
    fields = body if isinstance(body, dict) else {}
    data = fields.get("data")
    named = [place["job_id"] for place in (data, fields) if isinstance(place, dict) and "job_id" in place]
    found = list(_named_ids(body, NESTING_MAX))
    usable = [value for value in named if is_job_id(value)]
    others = {value.strip() for value in found if isinstance(value, str) and is_job_id(value.strip())}
    if not usable and len(others) == 1 and not any(char.isspace() for char in next(iter(others))):
        usable = [*others]
    if not usable:
        is_empty = all(value is None or value == "" for value in found)
        return _Announced(has_oddity=not is_empty)
    merged = {**fields, **data} if isinstance(data, dict) else fields
    coins = merged.get("consume_coins")
    is_price = type(coins) is int and 0 <= coins <= CREDITS_MAX
    return _Announced(job_id=usable[0], credits=coins if is_price else None)


def _named_ids(value: object, depth_left: int) -> Iterator[object]:
    """Yield each value under a name such as `job_id`, `jobId` or `JobID`, at any depth."""
    if not depth_left:
        return
    if isinstance(value, list):
        for entry in value:
            yield from _named_ids(entry, depth_left - 1)
    elif isinstance(value, dict):
        for name, entry in value.items():
            if name.replace("_", "").replace("-", "").lower() == "jobid":
                yield entry
            else:
                yield from _named_ids(entry, depth_left - 1)
