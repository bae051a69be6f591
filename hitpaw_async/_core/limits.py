"""The vendor's limits: every one that a request breaks, as sentences, before anything is spent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from hitpaw_async._urls.addresses import URL_CHARS_MAX, is_web_url
from hitpaw_async.errors import InvalidRequestError
from hitpaw_async.models import ExportRequest, Resolution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitpaw_async.models import VideoFacts

__all__ = ["SIZE_MAX_BYTES", "broken_limits", "requested", "require_valid"]

# Source of the five: v3 document, "Limits and Constraints".
SIDE_MIN_PX: Final = 128
RESOLUTION_MAX: Final = Resolution.UHD_8K
DURATION_MAX_S: Final = 600
SIZE_MAX_BYTES: Final = 200 * 1000 * 1000
CONTAINERS: Final = ("mp4", "avi", "mov", "mkv", "webm")

_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{1,8}")


def broken_limits(request: ExportRequest, facts: VideoFacts | None = None) -> tuple[str, ...]:
    """List every limit that a request, or the facts of its source, break.

    Args:
        request: The request.
        facts: Known facts of the source, in place of the request's own.

    Returns:
        One sentence a broken limit; empty where none is broken.
    """
    known = facts or request.facts
    source = () if known is None else tuple(_broken_by_source(known))
    return (*_broken_by_request(request), *source)


def require_valid(request: ExportRequest) -> None:
    """Refuse a request that breaks a limit.

    Raises:
        InvalidRequestError: It breaks at least one; the error names them all.
    """
    problems = broken_limits(request)
    if problems:
        raise InvalidRequestError(problems)


def requested(video: str | ExportRequest, **fields: Any) -> ExportRequest:
    """The request that a caller gave, whole or by its single fields, where None was not given.

    Raises:
        InvalidRequestError: It was given in both ways, or it breaks a limit.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if not isinstance(video, ExportRequest):
        if "resolution" not in given:
            raise InvalidRequestError(["resolution is missing: the size that the result shall have."])
        video = ExportRequest(video, **given)
    elif given.keys() - {"extension"} or given.get("extension", ".mp4") != ".mp4":
        raise InvalidRequestError(["Give either an ExportRequest or the single fields, not both."])
    require_valid(video)
    return video


def _broken_by_request(request: ExportRequest) -> Iterator[str]:
    yield from _broken_url("video_url", request.video_url)
    if request.web_hook_url is not None:
        yield from _broken_url("web_hook_url", request.web_hook_url)
    yield from _broken_size("The target", request.resolution)
    if not _EXTENSION.fullmatch(request.extension):
        yield f"extension must be a dot and one to eight letters or digits, not {ascii(request.extension)[:40]}."
    if (request.model is None) == (request.model_name is None):
        yield "Give exactly one of model and model_name."
    if request.model_name is not None and not request.model_name.strip():
        yield "model_name must not be empty."
    if request.model_name is not None and request.original_resolution is None:
        yield "model_name needs original_resolution as well."
    if request.original_resolution is not None:
        yield from _broken_size("original_resolution", request.original_resolution)


def _broken_url(name: str, url: str) -> Iterator[str]:
    if len(url) > URL_CHARS_MAX:
        yield f"{name} is longer than {URL_CHARS_MAX} characters."
    elif not is_web_url(url):
        yield f"{name} must be an http or https URL that the vendor can reach; it fetches the video itself."
    elif not url.isprintable() or " " in url:
        yield f"{name} has a space or an invisible character in it. Write it percent-encoded: a space is %20."


def _broken_size(what: str, size: Resolution) -> Iterator[str]:
    if size.short_side < SIDE_MIN_PX:
        yield f"{what} is {size}; the smallest that is accepted is {SIDE_MIN_PX}x{SIDE_MIN_PX}."
    if size.long_side > RESOLUTION_MAX.long_side or size.short_side > RESOLUTION_MAX.short_side:
        yield f"{what} is {size}; the largest that is accepted is {RESOLUTION_MAX}, in either orientation."


def _over(value: float, limit: float) -> str:
    """A value over its limit, with as many digits as it takes to see that: 600.01, not 600.0."""
    shown = (f"{value:.{digits}f}" for digits in (1, 2, 3, 6))
    return next((text for text in shown if float(text) > limit), repr(value))


def _broken_by_source(facts: VideoFacts) -> Iterator[str]:
    if facts.resolution is not None:
        yield from _broken_size("The source", facts.resolution)
    if facts.duration_s is not None and facts.duration_s > DURATION_MAX_S:
        duration = _over(facts.duration_s, DURATION_MAX_S)
        yield f"The source is {duration} s long; at most {DURATION_MAX_S} s are accepted."
    if facts.size_bytes is not None and facts.size_bytes > SIZE_MAX_BYTES:
        size_mb = _over(facts.size_bytes / 1e6, SIZE_MAX_BYTES / 1e6)
        yield f"The source has {size_mb} MB; at most {SIZE_MAX_BYTES // 10**6} MB are accepted."
    if facts.container is not None and facts.container.lower().removeprefix(".") not in CONTAINERS:
        # An enum's member is a text too, and shows its class.
        shown = ascii(str(facts.container))[1:-1][:20]
        yield f"The source is {shown}; {', '.join(CONTAINERS)} are accepted."
