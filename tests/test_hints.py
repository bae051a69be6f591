"""Annotations at run time: those of all public names can be resolved, as FastAPI, pydantic and cattrs do."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cattrs
import pytest

import hitpaw_async
from hitpaw_async import AsyncHitPaw, ExportRequest, ItemState, JobFailedError, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = (
    "hitpaw_async",
    "hitpaw_async.errors",
    "hitpaw_async.media",
    "hitpaw_async.models",
    "hitpaw_async.policies",
    "hitpaw_async.report",
    "hitpaw_async.simulator",
    "hitpaw_async.simulator.faults",
    "hitpaw_async.testing",
    "hitpaw_async.webhooks",
    "hitpaw_async.integrations.aiohttp",
    "hitpaw_async.integrations.fastapi",
    "hitpaw_async.integrations.otel",
    "hitpaw_async.integrations.starlette",
)


def annotated(name: str) -> Iterator[tuple[str, Any]]:
    """A module's public classes and functions, and the methods and properties of these classes."""
    module = importlib.import_module(name)
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isfunction(value):
            yield public, value
        if not isinstance(value, type) or not value.__module__.startswith("hitpaw_async"):
            continue
        yield public, value
        for member, raw in vars(value).items():
            function = getattr(raw, "__func__", getattr(raw, "fget", raw))
            if inspect.isfunction(function) and (member == "__init__" or not member.startswith("_")):
                yield f"{public}.{member}", function


@pytest.mark.parametrize("name", MODULES)
def test_the_hints_of_public_names_are_resolved(name: str) -> None:
    unresolved = {}
    for label, value in annotated(name):
        try:
            hints = typing.get_type_hints(value)
        except (NameError, TypeError) as error:
            unresolved[label] = str(error)
        else:
            assert not [hint for hint in hints.values() if isinstance(hint, typing.ForwardRef)], label
    assert unresolved == {}


@pytest.mark.parametrize(
    ("value", "argument", "hint"),
    [
        (AsyncHitPaw.batch, "return", hitpaw_async.BatchScheduler),
        (AsyncHitPaw.batch, "webhooks", hitpaw_async.WebhookPolicy | None),
        (JobFailedError, "job", hitpaw_async.Job),
    ],
)
def test_a_name_of_a_higher_layer_is_the_real_one(value: Any, argument: str, hint: Any) -> None:
    assert typing.get_type_hints(value)[argument] == hint


def test_hints_of_a_client_load_the_batch_only_when_they_are_read() -> None:
    program = (
        "import sys, typing\nfrom hitpaw_async import AsyncHitPaw\nname = 'hitpaw_async.batch.scheduler'\n"
        "print(name in sys.modules)\ntyping.get_type_hints(AsyncHitPaw.batch)\nprint(name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_cattrs_reads_an_outcome() -> None:
    request = ExportRequest("https://videos.test/a.mp4", model=17, resolution="1280x720")
    outcome = Outcome(key="k", request=request, state=ItemState.DONE, path=Path("a.mp4"))
    fields = cattrs.unstructure(outcome)
    assert (fields["key"], fields["path"], fields["request"]["video_url"]) == ("k", "a.mp4", request.video_url)
