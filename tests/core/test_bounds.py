"""Numbers that are settings: whatever stands in their place is refused by name, and by the library's own exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hitpaw_async import AsyncHitPaw, BackgroundBatch, ConfigurationError, PollPolicy
from hitpaw_async.batch.events.hub import EventStream
from hitpaw_async.batch.run.follow import checked_pause_s
from hitpaw_async.batch.webhooks import WebhookPolicy
from hitpaw_async.integrations._sse import ServerSentEvents
from hitpaw_async.simulator import FaultRule, Simulator
from hitpaw_async.testing.vendor import ScriptedVendor

if TYPE_CHECKING:
    from collections.abc import Callable

UNUSED: Any = None

SETTINGS: dict[str, Callable[[Any], object]] = {
    "timeout": lambda value: AsyncHitPaw(api_key="key", timeout=value),
    "max_connections": lambda value: AsyncHitPaw(api_key="key", max_connections=value),
    "interval_min_s": lambda value: PollPolicy(interval_min_s=value),
    "retry_after_s": checked_pause_s,
    "waiting_max": lambda value: BackgroundBatch(UNUSED, waiting_max=value),
    "buffer_max": lambda value: EventStream((), buffer_max=value, leave=UNUSED),
    "heartbeat_s": lambda value: ServerSentEvents(UNUSED, heartbeat_s=value),
    "wait_s": lambda value: WebhookPolicy(base_url="https://hooks.example", wait_s=value),
    "delay_s": lambda value: FaultRule(call="task", do="delay", delay_s=value),
    "times": lambda value: ScriptedVendor(Simulator()).fail_next("task", "drop", times=value),
}
"""Each setting by its name, set to a value."""


@pytest.mark.parametrize(
    "value", ["60", True, [], -1, float("nan"), float("inf"), 10**400], ids=lambda value: repr(value)[:10]
)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_is_no_such_number_is_refused_by_name(name: str, value: object) -> None:
    words = rf"\b{name} must be a (whole )?number from [0-9.]+ to [0-9e+.]+, not "
    with pytest.raises(ConfigurationError, match=words):
        SETTINGS[name](value)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_is_such_a_number_is_taken(name: str) -> None:
    SETTINGS[name](7)
