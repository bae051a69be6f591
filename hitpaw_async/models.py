"""Values and enumerations: what a request, a job and an outcome are. Frozen; coerced when built."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeAlias

import attrs

from hitpaw_async import _validators as _fields
from hitpaw_async._errors import HitPawError, InvalidRequestError
from hitpaw_async._format import own_columns
from hitpaw_async._redact import redact_url, shown, shown_fields
from hitpaw_async._urls.identity import canonical_url

__all__ = [
    "CreditQuote",
    "ExportRequest",
    "ItemState",
    "Job",
    "JobStatus",
    "ModelLike",
    "Outcome",
    "Resolution",
    "ResolutionLike",
    "VideoFacts",
    "VideoModel",
]


class VideoModel(IntEnum):
    """The ten enhancement models of v3, by id. Source: v3 document, "Enhancement Models"."""

    COLOR_ENHANCEMENT = 3
    ANIMATION = 4
    COLORIZE = 5
    FACE_SHARP_COLORIZE = 6
    LOW_LIGHT_ENHANCEMENT = 15
    GENERAL_DENOISE_BALANCE = 17
    FACE_SHARP = 18
    GENERAL_DENOISE_QUALITY = 20
    FACE_SOFT = 24
    FACE_SOFT_COLORIZE = 25

    @property
    def title(self) -> str:
        """The vendor's own name of the model."""
        return _MODEL_TITLES[self]

    @property
    def slug(self) -> str:
        """The name as typed on the command line, e.g. `general-denoise-balance`."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def parse(cls, value: ModelLike) -> VideoModel:
        """The model that an id (17, "17") or a name ("general-denoise-balance", any case) or title stands for.

        Raises:
            InvalidRequestError: It is none of the ten.
        """
        if isinstance(value, cls):
            return value
        by_id = {int(model): model for model in cls}
        if isinstance(value, int) and not isinstance(value, bool) and value in by_id:
            return by_id[value]
        if isinstance(value, str):
            # The vendor's titles as well: "Face Model (Sharp) + Colorize Model".
            words = re.findall(r"[A-Z0-9]+", value.upper()) if value.isascii() else []
            name = "_".join(word for word in words if word != "MODEL")
            if name in cls.__members__:
                return cls[name]
            if name.isascii() and name.isdecimal() and len(name) < 4 and int(name) in by_id:
                return by_id[int(name)]
        near = difflib.get_close_matches(str(value)[:60].lower(), [model.slug for model in cls], n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        known = ", ".join(f"{model.value} ({model.slug})" for model in cls)
        raise InvalidRequestError([f"The model {_fields.shown(value)} is unknown.{meant} The vendor has: {known}."])


_MODEL_TITLES: Final = {
    VideoModel.COLOR_ENHANCEMENT: "Color Enhancement",
    VideoModel.ANIMATION: "Animation Model",
    VideoModel.COLORIZE: "Colorize Model",
    VideoModel.FACE_SHARP_COLORIZE: "Face Model (Sharp) + Colorize Model",
    VideoModel.LOW_LIGHT_ENHANCEMENT: "Low-Light Enhancement Model",
    VideoModel.GENERAL_DENOISE_BALANCE: "General Denoise Model (Balance)",
    VideoModel.FACE_SHARP: "Face Model (Sharp)",
    VideoModel.GENERAL_DENOISE_QUALITY: "General Denoise Model (Quality)",
    VideoModel.FACE_SOFT: "Face Model (Soft)",
    VideoModel.FACE_SOFT_COLORIZE: "Face Model (Soft) + Colorize Model",
}

ModelLike: TypeAlias = VideoModel | int | str


class JobStatus(StrEnum):
    """Status of a job at the vendor. Source: v3 document, "Status Values"."""

    WAITING = "WAITING"
    CONVERTING = "CONVERTING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    UNRECOGNIZED = "UNRECOGNIZED"
    """A word that v3 doesn't document. It means "not finished yet"; `Job.status_text` has the word."""

    @property
    def is_final(self) -> bool:
        """True if the vendor will not change it any more."""
        return self in (JobStatus.COMPLETED, JobStatus.ERROR)


class ItemState(StrEnum):
    """State of an item of a batch. `hitpaw_async._core.itemstate` has the transitions."""

    QUEUED = "queued"
    RESERVED = "reserved"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    FETCHING = "fetching"
    DONE = "done"
    REJECTED = "rejected"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNCERTAIN = "uncertain"

    @property
    def is_terminal(self) -> bool:
        """True if it stays so until a person retries it. SKIPPED and UNCERTAIN end a run, not the item."""
        return self in (ItemState.DONE, ItemState.REJECTED, ItemState.FAILED)


@attrs.frozen(order=False)
class Resolution:
    """A picture size in pixels, as displayed.

    Raises:
        InvalidRequestError: A side is not a positive integer.
    """

    width: int
    height: int

    HD: ClassVar[Resolution]
    FULL_HD: ClassVar[Resolution]
    UHD_4K: ClassVar[Resolution]
    UHD_8K: ClassVar[Resolution]

    def __attrs_post_init__(self) -> None:
        for side in (self.width, self.height):
            if not _fields.is_integer(side) or not 0 < side < 10**6:
                raise InvalidRequestError(
                    [f"A resolution takes two positive whole numbers of pixels, not {_fields.shown((*self,))}."]
                )

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def __iter__(self) -> Iterator[int]:
        yield self.width
        yield self.height

    @property
    def long_side(self) -> int:
        """The longer side, in pixels."""
        return max(self.width, self.height)

    @property
    def short_side(self) -> int:
        """The shorter side, in pixels."""
        return min(self.width, self.height)

    @classmethod
    def parse(cls, value: ResolutionLike) -> Resolution:
        """The resolution that a pair `(1920, 1080)` or a text `"1920x1080"` stands for.

        Raises:
            InvalidRequestError: It is neither.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            match = re.fullmatch(r"\s*([0-9]{1,6})\s*[xX*\u00d7]\s*([0-9]{1,6})\s*", value)
            if match:
                return cls(int(match[1]), int(match[2]))
        elif isinstance(value, (tuple, list)) and len(value) == 2:
            return cls(value[0], value[1])
        raise InvalidRequestError([f'A resolution is written "1920x1080" or (1920, 1080), not {_fields.shown(value)}.'])


Resolution.HD = Resolution(1280, 720)
Resolution.FULL_HD = Resolution(1920, 1080)
Resolution.UHD_4K = Resolution(3840, 2160)
Resolution.UHD_8K = Resolution(7680, 4320)

ResolutionLike: TypeAlias = Resolution | tuple[int, int] | list[int] | str


@attrs.frozen(kw_only=True)
class VideoFacts:
    """Known facts of a source video. Any of them may be None: unknown.

    Raises:
        InvalidRequestError: A figure is not a positive number, or a name is not a string.
    """

    duration_s: float | None = attrs.field(default=None, validator=_fields.positive)
    """Length in seconds."""
    frame_rate: Fraction | None = attrs.field(default=None, converter=_fields.to_rate, validator=_fields.positive)
    """Average frames per second, exact (30000/1001, not 29.97)."""
    peak_frame_rate: Fraction | None = attrs.field(
        default=None, converter=_fields.to_peak_rate, validator=_fields.positive
    )
    """The highest rate of a video whose rate varies; None where it does not vary, or that is unknown."""
    width: int | None = attrs.field(default=None, validator=_fields.positive_integer)
    """Displayed width in pixels: rotation and pixel aspect applied."""
    height: int | None = attrs.field(default=None, validator=_fields.positive_integer)
    """Displayed height in pixels."""
    size_bytes: int | None = attrs.field(default=None, validator=_fields.positive_integer)
    """Size of the file."""
    container: str | None = attrs.field(default=None, validator=_fields.optional_text)
    """One of mp4, mov, avi, mkv, webm, or another container's short name."""
    codec: str | None = attrs.field(default=None, validator=_fields.optional_text)
    """The video codec's short name, e.g. h264."""
    duration_max_s: float | None = attrs.field(default=None, validator=_fields.positive)
    """The longest that any of the file's tracks, headers, edit lists or counted frames says, where that is longer."""
    frame_rate_max: Fraction | None = attrs.field(
        default=None, converter=_fields.to_rate_max, validator=_fields.positive
    )
    """The highest rate that any of them says, where that is higher than average and peak, or these may be rounded."""
    width_max: int | None = attrs.field(default=None, validator=_fields.positive_integer)
    """With `height_max`: the largest picture of any track, where it is larger than the video's own."""
    height_max: int | None = attrs.field(default=None, validator=_fields.positive_integer)

    @property
    def priced_frame_rate(self) -> Fraction | None:
        """The rate that a quote takes: the higher of average and peak."""
        if self.frame_rate is None or self.peak_frame_rate is None:
            return self.frame_rate or self.peak_frame_rate
        return max(self.frame_rate, self.peak_frame_rate)

    @property
    def resolution(self) -> Resolution | None:
        """Width and height as one value, where both are known."""
        if self.width is None or self.height is None:
            return None
        return Resolution(self.width, self.height)

    @property
    def resolution_max(self) -> Resolution | None:
        """The largest picture of any track as one value, where there is a larger one than the video's own."""
        if self.width_max is None or self.height_max is None:
            return None
        return Resolution(self.width_max, self.height_max)


@attrs.frozen
class CreditQuote:
    """Price of a video, as far as the facts allow."""

    exact: Fraction | None
    """Credits by the second, of the target's tier; None where the facts don't say."""
    upper: int
    """The most that it can cost: what a budget reserves. Whole minutes, rounded up, the dearer of source and target."""
    assumptions: tuple[str, ...] = ()
    """Reasons for `upper`, if facts were missing or contradict each other: one sentence each."""


@attrs.frozen(kw_only=True)
class Job:
    """A job at the vendor, as last seen."""

    job_id: str
    status: JobStatus = JobStatus.WAITING
    status_text: str = ""
    """The vendor's own word for the status; empty right after an export, whose reply has none."""
    res_url: str | None = attrs.field(default=None, repr=lambda url: repr(url and redact_url(url)))
    """URL of the result, once the job is COMPLETED. A secret: it gives access to the video."""
    credits: int | None = None
    """Price that the vendor tells; v3 never tells it."""

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        """Fields for rich, which would otherwise look past `repr` at the whole URL."""
        return shown_fields(self)


def _valid_facts(_: object, __: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, VideoFacts):
        raise InvalidRequestError([f"facts must be VideoFacts or None, not {_fields.shown(value)}."])


def _optional_model(value: ModelLike | None) -> VideoModel | None:
    return None if value is None else VideoModel.parse(value)


def _optional_resolution(value: ResolutionLike | None) -> Resolution | None:
    return None if value is None else Resolution.parse(value)


def _to_resolution(value: ResolutionLike) -> Resolution:
    return Resolution.parse(value)


@attrs.frozen
class ExportRequest:
    """One video to enhance: the fields of the export call, a key, and what is known of the source.

    Building it checks kinds only. Values (sizes, lengths, the URL) are checked against the vendor's limits before
    anything is sent, so that in a batch a bad item is one REJECTED outcome.

    Raises:
        InvalidRequestError: A field is of the wrong kind, or the model is unknown.
    """

    video_url: str = attrs.field(validator=_fields.text, repr=lambda url: repr(redact_url(url)))
    """URL from which the vendor fetches the source."""
    model: VideoModel | None = attrs.field(default=None, kw_only=True, converter=_optional_model)
    """The model, by id. Exactly one of `model` and `model_name` is given."""
    resolution: Resolution = attrs.field(kw_only=True, converter=_to_resolution)
    """The target size."""
    extension: str = attrs.field(default=".mp4", kw_only=True, validator=_fields.text)
    """File extension of the result, with its dot."""
    web_hook_url: str | None = attrs.field(
        default=None, kw_only=True, validator=_fields.optional_text, repr=lambda url: repr(url and redact_url(url))
    )
    """URL to which the vendor posts when the job is final."""
    model_name: str | None = attrs.field(default=None, kw_only=True, validator=_fields.optional_text)
    """The model by the vendor's name (a later revision of v3); excludes `model`, needs `original_resolution`."""
    original_resolution: Resolution | None = attrs.field(default=None, kw_only=True, converter=_optional_resolution)
    """The source's size (a later revision of v3)."""
    facts: VideoFacts | None = attrs.field(default=None, kw_only=True, validator=_valid_facts)
    """Known facts of the source; unknown ones are priced at their worst."""
    priority: int = attrs.field(default=0, kw_only=True, validator=_fields.valid_priority)
    """Higher goes first among items that wait in the journal."""
    metadata: Mapping[str, str] = attrs.field(
        factory=dict, kw_only=True, converter=_fields.to_metadata, eq=False, repr=False
    )
    """Anything of yours that shall come back with the outcome, texts by name. It decides nothing, equality included."""
    _key: str | None = attrs.field(default=None, kw_only=True, alias="key", validator=_fields.valid_key)
    _identity: str | None = attrs.field(default=None, kw_only=True, alias="_identity", eq=False, repr=False)
    """Value of `identity` before a journal dropped the URL's query."""

    def __repr__(self) -> str:
        return shown(self)

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        """Fields for rich, which would otherwise look past `repr` at the whole URL."""
        return shown_fields(self)

    @property
    def key(self) -> str:
        """Name of this item in a journal: the given key, else one derived from the content.

        However the URL is spelt, and whenever it was signed, the derived key is the same.
        """
        return self._key if self._key is not None else self.identity

    @property
    def former_key(self) -> str | None:
        """The key that earlier versions derived, where it is another: they took the URL as it was written."""
        former = None if self._key is not None else self.content_digest(self.video_url)
        return None if former == self.key else former

    @property
    def identity(self) -> str:
        """A digest of what is asked for: which video, and which result of it. A given key changes nothing of it."""
        return self._identity if self._identity is not None else self.content_digest(canonical_url(self.video_url))

    @property
    def fingerprint(self) -> str:
        """A digest of what is asked for, without the URL's query, which a journal doesn't keep."""
        return self.content_digest(redact_url(canonical_url(self.video_url)).removesuffix("?***"))

    def content_digest(self, video_url: str) -> str:
        """Sixteen hexadecimal bytes over the fields that decide what the result is."""
        content = [
            video_url,
            None if self.model is None else int(self.model),
            self.model_name,
            [*self.resolution],
            self.extension,
            None if self.original_resolution is None else [*self.original_resolution],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    def with_facts(self, facts: VideoFacts) -> Self:
        """The same request with other facts."""
        return attrs.evolve(self, facts=facts)


@attrs.frozen(kw_only=True)
class Outcome:
    """Result of one item of a batch in this run."""

    key: str
    request: ExportRequest
    state: ItemState
    job: Job | None = None
    """The job, where there is one. After a restart it has no `res_url`: ask `AsyncHitPaw.task` for a fresh one."""
    credits: int | None = None
    """Credits counted as spent on it (the upper bound, unless the vendor says); None where nothing was spent."""
    path: Path | None = None
    """The result on disk, complete."""
    error: HitPawError | None = None
    """Reason it is not DONE."""
    submitted_at: datetime | None = None
    """Time the vendor accepted it (UTC)."""
    finished_at: datetime | None = None
    """Time its state was reached (UTC)."""

    def to_dict(self) -> dict[str, Any]:
        """The outcome as JSON has it, wherever the library writes one: no signed URL and no key is in it.

        `key`, `video_url`, `state`, `job_id`, `credits`, `path`, `file` (the name of the path alone), `error` (`type`,
        `message`, `code`, or None), `submitted_at` and `finished_at` (ISO 8601), and a person's own columns as
        `metadata`.
        """
        error = self.error
        fields: dict[str, Any] = {"type": type(error).__name__, "message": str(error), "code": None}
        return {
            "key": self.key,
            "video_url": redact_url(self.request.video_url),
            "state": str(self.state),
            "job_id": None if self.job is None else self.job.job_id,
            "credits": self.credits,
            "path": None if self.path is None else str(self.path),
            "error": None if error is None else fields | {"code": getattr(error, "code", None)},
            "file": None if self.path is None else self.path.name,
            "submitted_at": None if self.submitted_at is None else self.submitted_at.isoformat(),
            "finished_at": None if self.finished_at is None else self.finished_at.isoformat(),
            "metadata": own_columns(self.request.metadata),
        }
