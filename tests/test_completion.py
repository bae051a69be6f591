"""Editors complete the package's names, members and arguments. Jedi reads what is written, and runs nothing."""

from __future__ import annotations

import attrs
import jedi
import pytest

import hitpaw_async
from hitpaw_async import ExportRequest, PollPolicy


def completed(text: str) -> set[str]:
    """What Jedi offers at the end of a text."""
    lines = text.split("\n")
    return {found.name for found in jedi.Script(text).complete(len(lines), len(lines[-1]))}


def arguments(call: str) -> set[str]:
    """The names of the arguments that Jedi shows within a call's parenthesis."""
    text = f"import hitpaw_async\nhitpaw = hitpaw_async.AsyncHitPaw()\n{call}("
    [signature] = jedi.Script(text).get_signatures(3, len(call) + 1)
    return {parameter.name for parameter in signature.params}


def test_every_public_name_of_the_package_is_offered() -> None:
    assert set(hitpaw_async.__all__) <= completed("import hitpaw_async\nhitpaw_async.")


@pytest.mark.parametrize(
    ("expression", "members"),
    [
        ("AsyncHitPaw()", {"batch", "download", "enhance", "export", "task", "wait", "watch"}),
        ("AsyncHitPaw().batch()", {"again", "events", "plan", "run", "statistics"}),
        ("VideoModel", {"GENERAL_DENOISE_BALANCE"}),
        ("ExportRequest('u', model=1, resolution='2x')", {"key", "model", "resolution", "video_url"}),
    ],
)
def test_members_are_offered(expression: str, members: set[str]) -> None:
    assert members <= completed(f"import hitpaw_async\nhitpaw_async.{expression}.")


@pytest.mark.parametrize(
    ("call", "names"),
    [
        ("hitpaw.enhance", {"video_url", "model", "resolution", "extension"}),
        ("hitpaw.batch", {"journal", "budget", "limits", "output"}),
        ("hitpaw_async.ExportRequest", {"video_url", "model", "resolution", "facts", "priority"}),
        ("hitpaw_async.BatchLimits", {"jobs_in_flight", "stop_grace_s"}),
        ("hitpaw_async.estimate", {"video"}),
    ],
)
def test_arguments_are_shown(call: str, names: set[str]) -> None:
    assert names <= arguments(call)


@pytest.mark.parametrize("name", hitpaw_async.__all__)
def test_no_value_shows_a_private_name(name: str) -> None:
    kind = getattr(hitpaw_async, name)
    if attrs.has(kind):
        private = [field.name for field in attrs.fields(kind) if field.repr and field.name.startswith("_")]
        assert not private or "__repr__" in vars(kind)


@pytest.mark.parametrize(
    "value",
    [
        ExportRequest("https://videos.example/a.mp4", model=17, resolution="1280x720", key="mine"),
        PollPolicy(interval_mean_s=9, patience_s=60),
    ],
)
def test_what_a_value_shows_are_its_arguments(value: object) -> None:
    shown = repr(value)
    assert " _" not in shown
    arguments = {field.alias for field in attrs.fields(type(value)) if field.repr}
    assert all(f"{argument}=" in shown for argument in arguments)
