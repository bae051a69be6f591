"""Scripted faults: the kind, the call and the moment of each.

A script is a JSON file:

```json
{
  "seed": 7,
  "rules": [
    {"call": "export", "nth": 2, "do": "reply", "status": 502},
    {"call": "export", "every": 5, "when": "after", "do": "drop"},
    {"call": "export", "url": "clip-3", "do": "job-error"},
    {"call": "task", "probability": 0.1, "do": "rate-limit", "retry_after_s": 2},
    {"call": "result", "nth": [1, 3], "do": "truncate", "keep_bytes": 1000}
  ]
}
```

Which calls a rule is for:

| field | meaning |
|---|---|
| `call` | `export`, `task` or `result` (the download of a result) |
| `url` | only calls about a video whose URL contains this text |
| `nth` | only the n-th such call, from 1; or a list of these |
| `every` | only every n-th such call |
| `probability` | only this share of such calls, drawn from `seed` |
| `times` | at most so often altogether |

At most one of `nth`, `every` and `probability` is given; with none of them, every such call is meant. Each rule counts
its own calls. If several rules mean a call, the first of them acts.

What it does (`do`), and `when`: `before` (the default: the call is not processed, nothing is accepted or charged) or
`after` (it was processed, and an export charged; only the reply is lost). A call that is refused keeps its refusal.

| `do` | meaning | fields |
|---|---|---|
| `reply` | this reply, not the vendor's; without `body`, a gateway's HTML page | `status`, `body`, `retry_after_s` |
| `rate-limit` | 429 in the vendor's envelope | `retry_after_s` |
| `garbage` | HTTP 200 with bytes that are not JSON | |
| `drop` | the connection breaks without a reply | |
| `delay` | the call, or its reply, is late; then all goes on | `delay_s` |
| `job-error` | export only: accepted and charged, and the job ends in ERROR | |
| `null-job-id` | export only: accepted and charged, and the reply's job id is null | |
| `truncate` | result only: the connection breaks after so many bytes (half, where not given) | `keep_bytes` |

`body` is a text, or an object that is sent as JSON. `delay_s` goes with every `do`: it acts that much later, in seconds
that `speed` does not scale. An expired or vanished result is a `reply` of 403 or 404. `drop` and `truncate` break the
connection where `serve` is the server; in-process, `drop` is an exception, and a truncated body ends short of its
Content-Length.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import attrs

from hitpaw_async._validators import checked_number
from hitpaw_async.errors import ConfigurationError

__all__ = ["ConnectionDroppedError", "FaultAction", "FaultCall", "FaultRule", "FaultRun", "FaultScript", "FaultTime"]

SCRIPT_BYTES_MAX: Final = 1 << 20
RULES_MAX: Final = 10_000


class FaultCall(StrEnum):
    """Which call goes wrong."""

    EXPORT = "export"
    TASK = "task"
    RESULT = "result"


class FaultAction(StrEnum):
    """Kind of fault."""

    REPLY = "reply"
    RATE_LIMIT = "rate-limit"
    GARBAGE = "garbage"
    DROP = "drop"
    DELAY = "delay"
    JOB_ERROR = "job-error"
    NULL_JOB_ID = "null-job-id"
    TRUNCATE = "truncate"


class FaultTime(StrEnum):
    """Moment of the fault: before the call is processed, or after."""

    BEFORE = "before"
    AFTER = "after"


class ConnectionDroppedError(ConnectionResetError):
    """Raised by the application to break a connection: the server does so, an in-process caller sees it raised."""


_CALLS_OF: Final = {
    FaultAction.JOB_ERROR: FaultCall.EXPORT,
    FaultAction.NULL_JOB_ID: FaultCall.EXPORT,
    FaultAction.TRUNCATE: FaultCall.RESULT,
}
_NEEDS: Final = {FaultAction.REPLY: "status", FaultAction.DELAY: "delay_s"}
_FIELDS_OF: Final = {
    "status": (FaultAction.REPLY,),
    "body": (FaultAction.REPLY,),
    "retry_after_s": (FaultAction.REPLY, FaultAction.RATE_LIMIT),
    "keep_bytes": (FaultAction.TRUNCATE,),
}


def _between(low: float, high: float, *, whole: bool = False) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None:
            checked_number(value, low, high, name=attribute.name, whole=whole)

    return check


def _shown(value: object) -> str:
    return ascii(value)[:60]


_Kind = TypeVar("_Kind", bound=StrEnum)


def _one_of(kind: type[_Kind], name: str, value: object) -> _Kind:
    if isinstance(value, str) and value in {*kind}:
        return kind(value)
    raise ConfigurationError(f"{name} must be one of {', '.join(kind)}, not {_shown(value)}.")


def _to_call(value: FaultCall | str) -> FaultCall:
    return _one_of(FaultCall, "call", value)


def _to_action(value: FaultAction | str) -> FaultAction:
    return _one_of(FaultAction, "do", value)


def _to_time(value: FaultTime | str) -> FaultTime:
    return _one_of(FaultTime, "when", value)


def _to_ordinals(value: int | Iterable[int] | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    return tuple(value) if isinstance(value, (list, tuple)) else (cast("int", value),)


def _ordinals(_: object, attribute: attrs.Attribute[Any], value: tuple[object, ...] | None) -> None:
    for number in value or ():
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ConfigurationError(f"{attribute.name} must be a whole number from 1, or a list of these.")


def _text(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{attribute.name} must be a string, not {_shown(value)}.")


def _text_or_object(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, (str, dict)):
        raise ConfigurationError(f"{attribute.name} must be a string or a JSON object, not {_shown(value)}.")


@attrs.frozen(kw_only=True)
class FaultRule:
    """One thing that goes wrong. The module's docstring says what each field means.

    Raises:
        ConfigurationError: A field's value is not possible, or fields don't go together.
    """

    call: FaultCall = attrs.field(converter=_to_call)
    do: FaultAction = attrs.field(converter=_to_action)
    when: FaultTime = attrs.field(default=FaultTime.BEFORE, converter=_to_time)
    url: str = attrs.field(default="", validator=_text)
    nth: tuple[int, ...] | None = attrs.field(default=None, converter=_to_ordinals, validator=_ordinals)
    every: int | None = attrs.field(default=None, validator=_between(1, 1e9, whole=True))
    probability: float | None = attrs.field(default=None, validator=_between(0, 1))
    times: int | None = attrs.field(default=None, validator=_between(0, 1e9, whole=True))
    status: int | None = attrs.field(default=None, validator=_between(200, 599, whole=True))
    body: str | dict[str, Any] | None = attrs.field(default=None, validator=_text_or_object)
    retry_after_s: int | None = attrs.field(default=None, validator=_between(0, 86_400, whole=True))
    delay_s: float | None = attrs.field(default=None, validator=_between(0, 86_400))
    keep_bytes: int | None = attrs.field(default=None, validator=_between(0, 1e12, whole=True))

    def __attrs_post_init__(self) -> None:
        chosen = [name for name in ("nth", "every", "probability") if getattr(self, name) is not None]
        if len(chosen) > 1:
            raise ConfigurationError(f"Give at most one of {' and '.join(chosen)}.")
        if self.do in _CALLS_OF and self.call is not _CALLS_OF[self.do]:
            raise ConfigurationError(f'"do": "{self.do}" is for "call": "{_CALLS_OF[self.do]}" alone.')
        needed = _NEEDS.get(self.do)
        if needed is not None and getattr(self, needed) is None:
            raise ConfigurationError(f'"do": "{self.do}" needs {needed}.')
        for name, actions in _FIELDS_OF.items():
            if getattr(self, name) is not None and self.do not in actions:
                raise ConfigurationError(f'{name} does not go with "do": "{self.do}".')

    @classmethod
    def parse(cls, fields: object) -> FaultRule:
        """The rule that a JSON object describes.

        Raises:
            ConfigurationError: It describes none.
        """
        if not isinstance(fields, dict):
            raise ConfigurationError("A rule must be a JSON object.")
        known = [attribute.name for attribute in attrs.fields(cls)]
        for name in fields:
            if name not in known:
                raise ConfigurationError(f"There is no field {_shown(name)}. A rule has: {', '.join(known)}.")
        for name in ("call", "do"):
            if name not in fields:
                raise ConfigurationError(f"A rule needs {name}.")
        return cls(**fields)


def _to_rules(rules: Iterable[FaultRule]) -> tuple[FaultRule, ...]:
    return tuple(rules)


@attrs.frozen
class FaultScript:
    """Rules, in their order, and the seed of the probable ones."""

    rules: tuple[FaultRule, ...] = attrs.field(converter=_to_rules)
    seed: int = attrs.field(default=0, kw_only=True)

    @classmethod
    def load(cls, path: str | Path) -> FaultScript:
        """Read a script from a file. Blocking: for start-up.

        Raises:
            ConfigurationError: It can't be read, or says something that is not possible; the error names the place.
        """
        try:
            with Path(path).open("rb") as file:
                content = file.read(SCRIPT_BYTES_MAX + 1)
        except OSError as error:
            raise ConfigurationError(f"The fault script {path} can't be read: {error.strerror}.") from None
        if len(content) > SCRIPT_BYTES_MAX:
            raise ConfigurationError(f"The fault script {path} is larger than {SCRIPT_BYTES_MAX >> 20} MiB.")
        return cls.parse(content, name=str(path))

    @classmethod
    def parse(cls, content: bytes | str, *, name: str = "The fault script") -> FaultScript:
        """Read a script from JSON.

        Args:
            content: The JSON.
            name: Its name in errors.

        Raises:
            ConfigurationError: It says something that is not possible; the error names the place.
        """
        fields = _json_object(content, name)
        for unknown in fields.keys() - {"seed", "rules"}:
            raise ConfigurationError(f"{name}: there is no field {_shown(unknown)}. A script has: seed, rules.")
        seed, listed = fields.get("seed", 0), fields.get("rules")
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise ConfigurationError(f"{name}: seed must be a whole number, not {_shown(seed)}.")
        if not isinstance(listed, list) or len(listed) > RULES_MAX:
            raise ConfigurationError(f"{name}: rules must be a list of at most {RULES_MAX} rules.")
        rules = [_rule_at(f"{name}: rules[{index}]", rule) for index, rule in enumerate(listed)]
        return cls(tuple(rules), seed=seed)


def _rule_at(place: str, fields: object) -> FaultRule:
    try:
        return FaultRule.parse(fields)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from None


def _json_object(content: bytes | str, name: str) -> Mapping[str, object]:
    try:
        fields = json.loads(content)
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{name}: line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{name}: it is not JSON in UTF-8.") from None
    if not isinstance(fields, dict):
        raise ConfigurationError(f'{name}: it must be a JSON object with a list "rules".')
    return fields


@attrs.define(eq=False)
class FaultRun:
    """A script being played: counts calls, and says what goes wrong with each."""

    _script: FaultScript
    _rules: list[FaultRule] = attrs.field(init=False)
    _calls: list[int] = attrs.field(init=False)
    _hits: list[int] = attrs.field(init=False)
    _random: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._rules = [*self._script.rules]
        self._calls = [0] * len(self._rules)
        self._hits = [0] * len(self._rules)
        self._random = random.Random(self._script.seed)  # noqa: S311 (repeatable on purpose)

    def add(self, rule: FaultRule) -> None:
        """Let a rule act from the next call on, after those that are there."""
        self._rules.append(rule)
        self._calls.append(0)
        self._hits.append(0)

    def has_rules_for(self, call: FaultCall) -> bool:
        """Tell if any rule counts such calls, even one that has no turn left."""
        return any(rule.call is call for rule in self._rules)

    def next_fault(self, call: FaultCall, video_url: str) -> FaultRule | None:
        """The rule that acts on the call that has just come in; every rule that is for it counts it."""
        acting = None
        for index, rule in enumerate(self._rules):
            if rule.call is call and rule.url in video_url and self._is_due(index, rule) and acting is None:
                self._hits[index] += 1
                acting = rule
        return acting

    def _is_due(self, index: int, rule: FaultRule) -> bool:
        self._calls[index] += 1
        number = self._calls[index]
        # Drawn for every call, so that one rule's use never shifts another's luck.
        draw = 0.0 if rule.probability is None else self._random.random()
        if rule.times is not None and self._hits[index] >= rule.times:
            return False
        if rule.nth is not None:
            return number in rule.nth
        if rule.every is not None:
            return number % rule.every == 0
        return draw < (math.inf if rule.probability is None else rule.probability)
