"""What goes over the wire, byte for byte, and what names a request."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._core.protocol.messages import Call
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._core.retry import CallKind
from hitpaw_async.errors import InvalidRequestError
from hitpaw_async.models import ExportRequest, Resolution, VideoFacts, VideoModel
from tests.core.values import JOB_ID, VIDEO_URL, a_request

HOOK = "https://your-server.com/webhook"

# Source: v3 document, "Enhancement Models".
MODEL_IDS = {
    3: "Color Enhancement",
    4: "Animation Model",
    5: "Colorize Model",
    6: "Face Model (Sharp) + Colorize Model",
    15: "Low-Light Enhancement Model",
    17: "General Denoise Model (Balance)",
    18: "Face Model (Sharp)",
    20: "General Denoise Model (Quality)",
    24: "Face Model (Soft)",
    25: "Face Model (Soft) + Colorize Model",
}


def test_the_documents_example_request() -> None:
    call = V3.encode_export(a_request(web_hook_url=HOOK))
    assert call == Call(
        CallKind.EXPORT,
        "/api/v3/video-enhancer/export",
        b'{"video_url":"https://example.com/video.mp4","extension":".mp4","resolution":[1920,1080],"model_id":17,'
        b'"web_hook_url":"https://your-server.com/webhook"}',
    )


def test_what_is_not_given_is_not_sent() -> None:
    body = V3.encode_export(a_request(facts=VideoFacts(duration_s=1), priority=7, key="k")).body
    assert body == (
        b'{"video_url":"https://example.com/video.mp4","extension":".mp4","resolution":[1920,1080],"model_id":17}'
    )


def test_a_model_by_name_goes_without_an_id() -> None:
    request = a_request(model=None, model_name="general-denoise-quality", original_resolution="640x360")
    assert V3.encode_export(request).body == (
        b'{"video_url":"https://example.com/video.mp4","extension":".mp4","resolution":[1920,1080],'
        b'"model_name":"general-denoise-quality","original_resolution":[640,360]}'
    )


def test_a_batchs_webhook_stands_in_for_the_requests() -> None:
    request = a_request(web_hook_url="https://example.com/own")
    assert json.loads(V3.encode_export(request, web_hook_url=HOOK).body)["web_hook_url"] == HOOK
    assert json.loads(V3.encode_export(request).body)["web_hook_url"] == "https://example.com/own"


def test_a_task_call_carries_the_job_id_alone() -> None:
    call = V3.encode_task(JOB_ID)
    assert call == Call(CallKind.TASK, "/api/v3/video-enhancer-api/task", b'{"job_id":"tZgnWAwQT80RgLNp4QToNHSW"}')
    assert V3.key_header == "ApiKey"


def test_the_ten_models() -> None:
    assert {int(model): model.title for model in VideoModel} == MODEL_IDS


@pytest.mark.parametrize("model", VideoModel)
def test_a_model_is_sent_by_its_id(model: VideoModel) -> None:
    spellings = (model, int(model), str(int(model)), model.name, model.slug, model.slug.replace("-", " ").title())
    bodies = {V3.encode_export(a_request(model=spelling)).body for spelling in spellings}
    assert [json.loads(body)["model_id"] for body in bodies] == [int(model)]


@given(url=st.text(), name=st.text())
def test_any_text_goes_over_the_wire_as_ascii_json(url: str, name: str) -> None:
    request = a_request(url, model=None, model_name=name, original_resolution=(128, 128))
    sent = json.loads(V3.encode_export(request).body.decode("ascii"))
    assert (sent["video_url"], sent["model_name"]) == (url, name)


def test_the_body_of_a_call_is_not_in_its_repr() -> None:
    assert "video.mp4" not in repr(V3.encode_export(a_request()))


# What a key of this very content must be for ever: journals of earlier versions are opened again.
KEY_OF_THE_EXAMPLE = "bcc179206827a0d2166b181d614b585f"


def test_a_key_is_derived_from_the_content_and_never_changes() -> None:
    assert a_request().key == KEY_OF_THE_EXAMPLE
    assert a_request().fingerprint == KEY_OF_THE_EXAMPLE


def test_a_given_key_names_the_item() -> None:
    assert a_request(key="holiday/17").key == "holiday/17"
    assert a_request(key="holiday/17").fingerprint == KEY_OF_THE_EXAMPLE


@pytest.mark.parametrize(
    "changes",
    [
        {"video_url": VIDEO_URL + "2"},
        {"model": 18},
        {"model": None, "model_name": "general-denoise-balance"},
        {"resolution": (1280, 720)},
        {"resolution": (1080, 1920)},
        {"extension": ".mov"},
        {"original_resolution": (640, 360)},
    ],
)
def test_what_decides_the_result_decides_the_key(changes: dict[str, Any]) -> None:
    other = attrs.evolve(a_request(), **changes)
    assert other.key != a_request().key
    assert other.fingerprint != a_request().fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"web_hook_url": HOOK},
        {"facts": VideoFacts(duration_s=9)},
        {"priority": 3},
        {"model": "general-denoise-balance"},
        {"resolution": "1920x1080"},
    ],
)
def test_what_does_not_decide_the_result_does_not_decide_the_key(changes: dict[str, Any]) -> None:
    assert a_request(**changes).key == a_request().key


def test_two_signatures_of_one_url_are_one_key_and_one_fingerprint() -> None:
    first, second = (a_request(f"{VIDEO_URL}?Expires={day}&Signature={day}") for day in "12")
    assert first.key == second.key == KEY_OF_THE_EXAMPLE
    assert first.fingerprint == second.fingerprint


def test_a_spelling_has_the_key_that_earlier_versions_gave_it_beside_its_own() -> None:
    assert a_request().former_key is None
    other = a_request(VIDEO_URL.replace("example", "EXAMPLE"))
    assert other.key == KEY_OF_THE_EXAMPLE
    assert other.former_key == other.content_digest(other.video_url) != other.key
    assert attrs.evolve(other, key="mine").former_key is None


def test_what_a_journal_forgot_of_a_url_still_counts() -> None:
    fifth, sixth = (a_request(f"{VIDEO_URL}?id={number}") for number in "56")
    forgotten = attrs.evolve(fifth, video_url=f"{VIDEO_URL}?***", _identity=fifth.identity)
    assert forgotten.identity == fifth.identity != sixth.identity
    assert forgotten.fingerprint == fifth.fingerprint


def test_metadata_is_a_copy_of_texts_and_decides_nothing() -> None:
    columns = {"title": "Holiday", "year": 2019, "is_long": True, "note": None}
    request = a_request(metadata=columns)
    columns["title"] = "changed"
    assert request.metadata == {"title": "Holiday", "year": "2019", "is_long": "True", "note": ""}
    assert request.key == a_request().key
    assert request == a_request()
    assert hash(request) == hash(a_request())
    assert "Holiday" not in repr(request)


@pytest.mark.parametrize("metadata", ["text", 5, ["a"], {1: "a"}, {"a": ["b"]}, {"a": {}}, {"a": "x" * 20_000}])
def test_metadata_of_another_kind_is_refused(metadata: Any) -> None:
    with pytest.raises(InvalidRequestError, match="metadata"):
        a_request(metadata=metadata)


@given(url=st.text(), name=st.none() | st.text())
def test_any_text_has_a_key(url: str, name: str | None) -> None:
    request = ExportRequest(url, model_name=name, resolution=Resolution.HD)
    assert len(request.key) == len(request.fingerprint) == 32
    assert int(request.key, 16) >= 0
