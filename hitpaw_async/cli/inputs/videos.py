"""The videos that are given on the command line and in a list: checked whole before anything else, then streamed."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, cast

import anyio.to_thread
import attrs

from hitpaw_async._core.limits import broken_limits
from hitpaw_async._redact import redact_url
from hitpaw_async._vendor.settings import DEFAULT_BASE_URL
from hitpaw_async.cli.exit_codes import InputError, UsageError
from hitpaw_async.cli.inputs.cells import UnclearError, rate_text, seconds_of, whole_number_of
from hitpaw_async.cli.inputs.reach import unreachable
from hitpaw_async.cli.inputs.rows import ROW_NAME, InputFormat, Row, read_rows, sniffed_format
from hitpaw_async.cli.inputs.served_folders import NOT_SERVED, ServedFolders, videos_in
from hitpaw_async.cli.settings.batch import has_media
from hitpaw_async.errors import InternalError, InvalidRequestError, MediaError
from hitpaw_async.models import ExportRequest, Resolution, VideoFacts, VideoModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import BinaryIO

__all__ = ["LIST_FORMATS", "Defaults", "Inputs", "Priorities"]

PROBLEMS_SHOWN_MAX: Final = 200
ROWS_AT_ONCE: Final = 256
LIST_FORMATS: Final = {
    ".txt": InputFormat.TXT,
    ".csv": InputFormat.CSV,
    ".tsv": InputFormat.CSV,
    ".jsonl": InputFormat.JSONL,
    ".ndjson": InputFormat.JSONL,
    ".json": InputFormat.JSONL,
}
"""What the end of a list's name says of it."""
_NO_FACTS: Final = VideoFacts()

Priorities: TypeAlias = Callable[[ExportRequest], ExportRequest]


@attrs.frozen(kw_only=True)
class Defaults:
    """What a video gets whose row doesn't say."""

    model: VideoModel
    resolution: Resolution
    extension: str = ".mp4"
    web_hook_url: str | None = None

    @classmethod
    def parse(cls, *, model: str, resolution: str, extension: str, web_hook_url: str | None) -> Self:
        """The defaults as typed.

        Raises:
            InvalidRequestError: One of them can't be used for any video.
        """
        made = cls(
            model=VideoModel.parse(model),
            resolution=Resolution.parse(resolution),
            extension=_with_dot(extension),
            web_hook_url=web_hook_url,
        )
        problems = broken_limits(made.request("https://example.com/any.mp4"), _NO_FACTS)
        if problems:
            raise InvalidRequestError(problems)
        return made

    def request(self, video_url: str) -> ExportRequest:
        """A video about which nothing else is said."""
        return ExportRequest(
            video_url,
            model=self.model,
            resolution=self.resolution,
            extension=self.extension,
            web_hook_url=self.web_hook_url,
        )


def _is_known(facts: VideoFacts | None) -> bool:
    return facts is not None and None not in (facts.duration_s, facts.frame_rate, facts.width, facts.height)


def _with_dot(extension: str) -> str:
    return extension if extension.startswith(".") else f".{extension}"


class Inputs:
    """URLs, files and a list, to be read as often as needed. Use it as `with Inputs(...) as inputs:`.

    What can be read only once (standard input, a pipe) is kept in a temporary file meanwhile.

    Args:
        sources: URLs, files and folders from the command line.
        list_name: The list's file name; `-` is standard input, None is no list.
        list_format: Its format; None: told by its name, else by its beginning.
        defaults: What rows don't say.
        served: Where files of this machine can be had by the vendor.
        vendor: The vendor's address, from which the videos must be reachable.
    """

    def __init__(
        self,
        sources: Sequence[str],
        list_name: str | None,
        list_format: InputFormat | None,
        defaults: Defaults,
        served: ServedFolders | None = None,
        vendor: str = DEFAULT_BASE_URL,
    ) -> None:
        self._vendor = vendor
        self._sources = tuple(sources)
        self._served = served or ServedFolders()
        self._local_facts: dict[Path, VideoFacts | None] = {}
        self.reads_files = False
        """Whether the facts of files of this machine are read from them as they are streamed."""
        self._list_name = list_name
        self._format = list_format
        self._defaults = defaults
        self._file: BinaryIO | None = None
        self.has_unknown_facts = False
        """After `check`: whether the price of a video depends on what its row doesn't say."""
        self.priorities: Priorities | None = None
        """Gives each request that is streamed its turn; None: as the list has it."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._list_name is not None:
            try:
                self._file = self._opened(self._list_name)
                self._format = self._format or LIST_FORMATS.get(Path(self._list_name).suffix.lower())
                self._format = self._format or sniffed_format(self._file.read(1 << 12))
            except OSError as error:
                self._stack.close()
                raise UsageError(f"The list {self._list_name} can't be read: {error.strerror}.") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _opened(self, name: str) -> BinaryIO:
        if name == "-":
            return self._spooled(sys.stdin.buffer)
        file = self._stack.enter_context(Path(name).open("rb"))  # noqa: SIM115 (closed by __exit__)
        is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        return file if is_regular else self._spooled(file)

    def _spooled(self, source: BinaryIO) -> BinaryIO:
        kept = cast("BinaryIO", self._stack.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115 (the same)
        shutil.copyfileobj(source, kept)
        kept.seek(0)
        return kept

    def check(self) -> int:
        """Read everything once.

        Returns:
            How many videos there are.

        Raises:
            InputError: Rows can't be used; it names them all.
        """
        count = 0
        shown: list[str] = []
        total = 0
        for place, made in self._examined():
            count += 1
            if isinstance(made, ExportRequest):
                is_readable = self._served.path_of(made.video_url) is not None and has_media()
                self.has_unknown_facts |= not _is_known(made.facts) and not is_readable
                continue
            total += len(made)
            shown += [f"{place}: {problem}" for problem in made][: PROBLEMS_SHOWN_MAX - len(shown)]
        if total:
            raise InputError(shown, total)
        return count

    def usable(self) -> Iterator[ExportRequest]:
        """All videos as they are listed, from the first; nothing is read of files. Blocks while it reads the list."""
        return (made for _, made in self._examined() if isinstance(made, ExportRequest))

    def stream(self) -> RequestStream:
        """All videos, from the first. Raises `InputError` where the list has changed since it was checked."""
        return RequestStream(self._requests())

    def _requests(self) -> Iterator[ExportRequest]:
        for place, made in self._examined():
            if not isinstance(made, ExportRequest):
                raise InputError([f"{place}: {problem}" for problem in made], len(made))
            request = self._with_local_facts(made) if self.reads_files and made.facts is None else made
            yield request if self.priorities is None else self.priorities(request)

    def _with_local_facts(self, request: ExportRequest) -> ExportRequest:
        """The request with the facts of its file, where it is one of this machine: without the network."""
        path = self._served.path_of(request.video_url)
        if path is None:
            return request
        if path not in self._local_facts:
            self._local_facts[path] = _facts_of(path)
        facts = self._local_facts[path]
        return request if facts is None else request.with_facts(facts)

    def _examined(self) -> Iterator[tuple[str, ExportRequest | tuple[str, ...]]]:
        """Each video's place and its request, or what is wrong with it."""
        for source in self._sources:
            yield from self._of_source(source)
        if self._file is not None and self._format is not None:
            name = "standard input" if self._list_name == "-" else self._list_name
            for row in read_rows(self._file, self._format):
                yield f"{name}:{row.line}", self._of_row(row)

    def _of_source(self, source: str) -> Iterator[tuple[str, ExportRequest | tuple[str, ...]]]:
        if "://" in source or not Path(source).is_dir():
            yield redact_url(source)[:80], self._of_row(Row(0, {"video_url": source}))
            return
        place = ascii(source)[1:-1][:80]
        is_empty = True
        for path in videos_in(Path(source)):
            is_empty = False
            if self._served.url_of(path) is None:
                yield place, (NOT_SERVED,)
                return
            yield place, self._of_row(Row(0, {"video_url": str(path)}))
        if is_empty:
            yield place, ("There is no video in this folder.",)

    def _of_row(self, row: Row) -> ExportRequest | tuple[str, ...]:
        given = row.fields.get("video_url")
        if isinstance(given, str) and "://" not in given and Path(given).is_file():
            url = self._served.url_of(Path(given))
            if url is None:
                return (NOT_SERVED,)
            row = attrs.evolve(row, fields={**row.fields, "video_url": url})
        made = _of_row(row, self._defaults)
        problem = unreachable(made.video_url, self._vendor) if isinstance(made, ExportRequest) else None
        return made if problem is None else (problem,)


def _facts_of(path: Path) -> VideoFacts | None:
    from hitpaw_async import media  # noqa: PLC0415 (an extra)

    try:
        return media.probe_file(path)
    except (InternalError, MediaError):
        # The batch reads it once more, by its URL, as the vendor would, and rejects it with the reason.
        return None


class RequestStream:
    """Requests pulled in groups from a blocking iterator, in a thread: a slow disk doesn't hold up the event loop."""

    def __init__(self, requests: Iterator[ExportRequest]) -> None:
        self._requests = requests
        self._group: Iterator[ExportRequest] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ExportRequest:
        made = next(self._group, None)
        if made is None:
            self._group = iter(await anyio.to_thread.run_sync(self._pull))
            made = next(self._group, None)
        if made is None:
            raise StopAsyncIteration
        return made

    def _pull(self) -> list[ExportRequest]:
        return list(itertools.islice(self._requests, ROWS_AT_ONCE))


def _of_row(row: Row, defaults: Defaults) -> ExportRequest | tuple[str, ...]:
    """The request that a row makes, or everything that is wrong with the row."""
    if row.problems:
        return row.problems
    made = _Making(row.fields)
    url = made.take("video_url", _text)
    model = made.take("model", VideoModel.parse)
    resolution = made.take("resolution", Resolution.parse)
    extension = made.take("extension", lambda value: _with_dot(_text(value)))
    facts = made.facts()
    key = made.take("key", _key_text)
    priority = made.take("priority", _whole_number)
    if url is None and "video_url" not in row.fields:
        made.problems.append("video_url is missing.")
    if made.problems:
        return tuple(made.problems)
    try:
        request = ExportRequest(
            url or "",
            model=model or defaults.model,
            resolution=resolution or defaults.resolution,
            extension=extension or defaults.extension,
            web_hook_url=defaults.web_hook_url,
            facts=facts,
            priority=priority or 0,
            metadata={**row.own, ROW_NAME: row.line} if row.line else row.own,
            key=key,
        )
    except InvalidRequestError as error:
        return error.problems
    # A size, a length or a format that the vendor refuses is one REJECTED item. What is no URL is a slip in the list.
    return tuple(problem for problem in broken_limits(request, _NO_FACTS) if problem.startswith("video_url")) or request


@attrs.define
class _Making:
    """Fields of a row on their way to values; collects what is wrong."""

    _fields: dict[str, Any]
    problems: list[str] = attrs.field(factory=list)

    def take(self, name: str, convert: Callable[[Any], Any]) -> Any:
        if name not in self._fields:
            return None
        try:
            return convert(self._fields[name])
        except InvalidRequestError as error:
            self.problems += error.problems
        except UnclearError as error:
            self.problems.append(f"{name} is {ascii(self._fields[name])[:60]}: {error}.")
        except (ValueError, OverflowError):
            self.problems.append(f"{name} can't be {ascii(self._fields[name])[:60]}.")
        return None

    def facts(self) -> VideoFacts | None:
        given = {name: self.take(name, partial(_fact, name)) for name in _FACTS}
        known = {name: value for name, value in given.items() if value is not None}
        return VideoFacts(**known) if known else None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("another kind")
    return value.strip()


def _key_text(value: object) -> str:
    """A key; in JSON, a number will do as well."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else _text(value)


def _fact(name: str, value: object) -> Any:
    return getattr(VideoFacts(**{name: _FACTS[name](value)}), name)


def _seconds(value: object) -> float:
    if isinstance(value, str):
        return seconds_of(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("another kind")  # noqa: TRY004 (a cell of a list)
    return float(value)


def _whole_number(value: object) -> int:
    if isinstance(value, str):
        return whole_number_of(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("another kind")  # noqa: TRY004 (a cell of a list)
    return value


_FACTS: Final[dict[str, Callable[[Any], Any]]] = {
    "duration_s": _seconds,
    "frame_rate": lambda value: rate_text(value) if isinstance(value, str) else value,
    "width": _whole_number,
    "height": _whole_number,
    "size_bytes": _whole_number,
}
"""The columns that say what is known of a source, and how a cell becomes a figure."""
