"""What the vendor may answer, and what is made of it. The replies are data, most of them as documented or as seen."""

from __future__ import annotations

import email.utils
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async import errors
from hitpaw_async._core.protocol.fields import CREDITS_MAX
from hitpaw_async._core.protocol.messages import JOB_ID_CHARS_MAX, Reply, is_job_id, parse_retry_after
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._core.retry import CallKind, SendProgress, Verdict
from hitpaw_async.models import Job, JobStatus
from tests.core.values import API_KEY, JOB_ID, a_decision, a_reply

RESULT_URL = "https://cdn.example.com/enhanced.mp4?Expires=1&Signature=s1gn4ture"
SIGNATURE = "s1gn4ture"

ACCEPTED = {
    "the document's sample": {"code": 200, "message": "Success", "data": {"job_id": JOB_ID}},
    "the platform's code 0": {"code": 0, "message": "OK", "data": {"job_id": JOB_ID}},
    "msg for message": {"code": 200, "msg": "OK", "data": {"job_id": JOB_ID}},
    "error_code for code": {"error_code": 0, "data": {"job_id": JOB_ID}},
    "code null, error_code set": {"code": None, "error_code": 200, "data": {"job_id": JOB_ID}},
    "no code": {"data": {"job_id": JOB_ID}},
    "flat": {"job_id": JOB_ID},
    "flat in an envelope": {"code": 200, "job_id": JOB_ID},
    "flat beside data null": {"code": 200, "job_id": JOB_ID, "data": None},
    "both shapes agree": {"code": 200, "job_id": JOB_ID, "data": {"job_id": JOB_ID}},
    "data wins over the top": {"code": 200, "job_id": "top", "data": {"job_id": JOB_ID}},
    "the top fills in": {"code": 200, "job_id": JOB_ID, "data": {}},
    "unknown fields": {"code": 200, "data": {"job_id": JOB_ID, "eta": [1, {"x": None}]}, "trace": {"a": [True]}},
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_an_accepted_export_is_a_job(body: object) -> None:
    assert V3.decode_export(a_reply(body)) == Job(job_id=JOB_ID)


@pytest.mark.parametrize("status_code", [200, 201, 202])
def test_any_2xx_may_accept(status_code: int) -> None:
    assert V3.decode_export(a_reply({"data": {"job_id": JOB_ID}}, status_code)).job_id == JOB_ID


def test_whitespace_and_escapes_are_json() -> None:
    body = b' {"data"\n:\t{"job_id": "\\u0061b\\u00e9"}} \r\n'
    assert V3.decode_export(a_reply(body)).job_id == "abé"


def test_credits_are_taken_where_the_vendor_tells() -> None:
    told = {"data": {"job_id": JOB_ID, "consume_coins": 3}}
    assert V3.decode_export(a_reply(told)).credits == 3
    assert V3.decode_task(a_reply({**told, "status": "WAITING"}), job_id=JOB_ID).credits == 3


@pytest.mark.parametrize("coins", [-1, CREDITS_MAX + 1, 10**4000, True, "3", 1.5])
def test_credits_that_are_no_number_of_credits_are_not_believed(coins: object) -> None:
    told = {"data": {"job_id": JOB_ID, "consume_coins": coins}}
    assert V3.decode_export(a_reply(told)) == Job(job_id=JOB_ID), "it is paid for, whatever the price looks like"
    with pytest.raises(errors.ProtocolError):
        V3.decode_task(a_reply({**told, "code": 200, "status": "WAITING"}), job_id=JOB_ID)


@pytest.mark.parametrize(
    "odd",
    [{"consume_coins": "3"}, {"consume_coins": -1}, {"status": 5}, {"res_url": ["x"]}, {"consume_coins": 10**400}],
    ids=str,
)
@pytest.mark.parametrize("code", [200, 0])
def test_a_job_id_in_the_vendors_envelope_counts_whatever_else_is_odd(code: int, odd: dict[str, object]) -> None:
    """It has been paid for: an UNCERTAIN item whose job id was there would be a loss of our own making."""
    for body in ({"code": code, "data": {"job_id": JOB_ID, **odd}}, {"code": code, "job_id": JOB_ID, **odd}):
        assert V3.decode_export(a_reply(body)) == Job(job_id=JOB_ID)


JOB_IDS_REFUSED = {
    "null": None,
    "number": 17,
    "zero": 0,
    "float": 1.5,
    "true": True,
    "list": [JOB_ID],
    "object": {"id": JOB_ID},
    "empty": "",
    "blank": "  ",
    "newline": "a\nb",
    "nul": "a\x00b",
    "lone surrogate": "\ud800",
    "too long": "x" * (JOB_ID_CHARS_MAX + 1),
}


@pytest.mark.parametrize("shape", ["flat", "data"])
@pytest.mark.parametrize("job_id", JOB_IDS_REFUSED.values(), ids=JOB_IDS_REFUSED)
def test_an_export_without_a_usable_job_id_is_not_understood(job_id: object, shape: str) -> None:
    fields = {"job_id": job_id}
    body = {"code": 200, **fields} if shape == "flat" else {"code": 200, "data": fields}
    with pytest.raises(errors.ProtocolError):
        V3.decode_export(a_reply(body))


def test_the_longest_job_id_is_taken() -> None:
    longest = "x" * JOB_ID_CHARS_MAX
    assert V3.decode_export(a_reply({"job_id": longest})).job_id == longest


NOT_UNDERSTOOD = {
    "empty": b"",
    "html": b"<!doctype html><title>Sign in to the hotel's network</title>",
    "truncated": b'{"code":200,"data":{"job_id":"a',
    "two objects": b'{"job_id":"a"}{"job_id":"b"}',
    "null": b"null",
    "true": b"true",
    "number": b"200",
    "text": b'"OK"',
    "list": b'[{"id":"a"}]',
    "no job id": b'{"code":200,"message":"Success","data":{}}',
    "no fields": b"{}",
    "data is a list": b'{"code":200,"data":[]}',
    "data is a text": b'{"code":200,"data":"a"}',
    "data is false": b'{"code":200,"data":false}',
    "code is a bool": b'{"code":true,"data":{}}',
    "code is a text": b'{"code":"200","data":{}}',
    "code is a float": b'{"code":200.0,"data":{}}',
    "error_code is a list": b'{"error_code":[],"data":{}}',
    "NaN": b'{"code":NaN}',
    "ten thousand digits": b'{"code":' + b"1" * 10_000 + b"}",
    "a hundred thousand brackets": b"[" * 100_000,
    "deep objects": b'{"data":' * 50_000,
    "invalid UTF-8": b'{"job_id":"\xff\xfe"}',
    "UTF-16": '{"id":"a"}'.encode("utf-16"),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}


@pytest.mark.parametrize("body", NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_a_reply_that_is_not_understood_says_so_and_leaves_an_export_unknown(body: bytes) -> None:
    with pytest.raises(errors.ProtocolError) as caught:
        V3.decode_export(a_reply(body))
    assert len(str(caught.value)) < 2_000
    assert a_decision(caught.value, progress=SendProgress.BODY_BEGUN).verdict is Verdict.UNKNOWN
    with pytest.raises(errors.ProtocolError):
        V3.decode_task(a_reply(body), job_id="a")


ODD_BUT_NAMED = {
    "list": b'[{"job_id":"a"}]',
    "code is a bool": b'{"code":true,"data":{"job_id":"a"}}',
    "code is a text": b'{"code":"200","data":{"job_id":"a"}}',
    "code is a float": b'{"code":200.0,"data":{"job_id":"a"}}',
    "error_code is a list": b'{"error_code":[],"data":{"job_id":"a"}}',
    "NaN": b'{"code":200,"data":{"job_id":"a"},"eta":NaN}',
    "Infinity": b'{"code":200,"data":{"job_id":"a"},"eta":-Infinity}',
    "UTF-16": '{"job_id":"a"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"job_id":"a"}',
    "another spelling": b'{"code":200,"data":{"jobId":"a"}}',
    "another envelope": b'{"success":true,"result":{"job":{"job_id":"a"}}}',
    "a list in data": b'{"code":200,"data":[{"job_id":"a"}]}',
    "a code beside it": b'{"code":-200,"message":"no","data":{"job_id":"a"}}',
    "501002": b'{"code":501002,"message":"no","data":{"job_id":"a"}}',
    "501016, flat": b'{"code":501016,"message":"no","job_id":"a"}',
    "an error_code": b'{"error_code":501001,"message":"no","data":{"jobID":"a"}}',
}


@pytest.mark.parametrize("status_code", [200, 302, 400, 401, 402, 404, 409, 429, 500, 503])
@pytest.mark.parametrize("body", ODD_BUT_NAMED.values(), ids=ODD_BUT_NAMED)
def test_a_job_id_in_any_answer_to_an_export_is_paid_for(body: bytes, status_code: int) -> None:
    assert V3.decode_export(a_reply(body, status_code)) == Job(job_id="a")


@pytest.mark.parametrize(
    "fields",
    [
        {"data": {"job_id": 17}},
        {"job_id": ["a"]},
        {"data": [{"job_id": "a"}, {"job_id": "b"}]},
        {"errors": {"jobId": "is not allowed here"}},
    ],
    ids=str,
)
def test_a_refusal_with_something_for_a_job_id_is_no_certain_refusal(fields: dict[str, object]) -> None:
    with pytest.raises(errors.ProtocolError) as caught:
        V3.decode_export(a_reply({"code": 501002, "message": "no", **fields}, 402))
    assert a_decision(caught.value, progress=SendProgress.BODY_BEGUN).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("job_id", [None, "", ...])
def test_a_refusal_without_a_job_id_is_one(job_id: object) -> None:
    data = {} if job_id is ... else {"job_id": job_id}
    with pytest.raises(errors.InsufficientCreditsError):
        V3.decode_export(a_reply({"code": 501002, "message": "no", "data": data}, 402))


def test_a_reply_that_is_not_understood_is_shown() -> None:
    with pytest.raises(errors.ProtocolError, match="Sign in") as caught:
        V3.decode_export(a_reply(NOT_UNDERSTOOD["html"]))
    assert caught.value.body == NOT_UNDERSTOOD["html"].decode()


REFUSALS = [
    # status, body, exception, code, message
    (401, {"code": 501001, "message": "The ApiKey is not valid"}, errors.AuthenticationError, 501001),
    (
        402,
        {"code": 501002, "message": "The coins for this APIKEY is not enough"},
        errors.InsufficientCreditsError,
        501002,
    ),
    (400, {"code": 501016, "message": "The video url is not valid"}, errors.InvalidVideoURLError, 501016),
    (400, {"error_code": 501016, "msg": "The video url is not valid"}, errors.InvalidVideoURLError, 501016),
    # The code decides, whatever the status says.
    (200, {"code": 501001, "message": "no"}, errors.AuthenticationError, 501001),
    (200, {"code": 501002, "message": "no", "data": []}, errors.InsufficientCreditsError, 501002),
    (200, {"code": 501016, "message": "no", "data": {"job_id": None}}, errors.InvalidVideoURLError, 501016),
    (500, {"code": 501002, "message": "no"}, errors.InsufficientCreditsError, 501002),
    (200, {"error_code": 501001, "message": "no"}, errors.AuthenticationError, 501001),
    # A code of the refusals' family that is not documented yet.
    (200, {"code": 501099, "message": "no"}, errors.BadRequestError, 501099),
    (400, {"code": 501099, "message": "no"}, errors.BadRequestError, 501099),
    # An HTTP status as the code of a 200.
    (200, {"code": 400, "message": "no"}, errors.BadRequestError, 400),
    (200, {"code": 401, "message": "no"}, errors.AuthenticationError, 401),
    (200, {"code": 402, "message": "no"}, errors.InsufficientCreditsError, 402),
    (200, {"code": 404, "message": "no"}, errors.JobNotFoundError, 404),
    (200, {"code": 429, "message": "no"}, errors.RateLimitError, 429),
    (200, {"code": 500, "message": "no"}, errors.ServerError, 500),
    # A code that nobody knows: neither a refusal nor a success.
    (200, {"code": 1, "message": "no"}, errors.APIError, 1),
    (200, {"code": -200, "message": "no", "data": {}}, errors.APIError, -200),
    # The status, where the code says nothing.
    *[
        (status, {"code": 7, "message": "no"}, kind, 7)
        for status, kind in {
            400: errors.BadRequestError,
            401: errors.AuthenticationError,
            402: errors.InsufficientCreditsError,
            403: errors.BadRequestError,
            404: errors.JobNotFoundError,
            408: errors.ServerError,
            409: errors.ServerError,
            413: errors.BadRequestError,
            422: errors.BadRequestError,
            425: errors.ServerError,
            429: errors.RateLimitError,
            500: errors.ServerError,
            502: errors.ServerError,
            503: errors.ServerError,
            504: errors.ServerError,
            599: errors.ServerError,
        }.items()
    ],
]


@pytest.mark.parametrize(("status_code", "body", "kind", "code"), REFUSALS)
def test_a_refusal_is_a_typed_error(
    status_code: int, body: dict[str, object], kind: type[errors.APIError], code: int
) -> None:
    for decode in (V3.decode_export, lambda reply: V3.decode_task(reply, job_id=JOB_ID)):
        with pytest.raises(errors.APIError) as caught:
            decode(a_reply(body, status_code))
        assert type(caught.value) is kind
        assert (caught.value.status_code, caught.value.code) == (status_code, code)
        assert caught.value.message == body.get("message", body.get("msg"))
        assert caught.value.is_from_vendor
        assert kind.advice in str(caught.value)


@pytest.mark.parametrize("status_code", [400, 401, 403, 404, 413, 429, 500, 502, 503])
@pytest.mark.parametrize("body", [b"", b"<h1>no</h1>", b"[]", b'{"error":"no"}', b'{"code":true}', b'{"code":"7"}'])
def test_a_strangers_error_page_is_not_the_vendors(status_code: int, body: bytes) -> None:
    with pytest.raises(errors.APIError) as caught:
        V3.decode_export(a_reply(body, status_code))
    assert not caught.value.is_from_vendor
    assert caught.value.code is None
    assert caught.value.message == body.decode()


def test_a_message_of_the_wrong_kind_gives_way_to_the_body() -> None:
    with pytest.raises(errors.BadRequestError) as caught:
        V3.decode_export(a_reply({"code": 7, "message": ["no"]}, 400))
    assert caught.value.message == '{"code": 7, "message": ["no"]}'


def test_a_long_message_is_cut() -> None:
    with pytest.raises(errors.BadRequestError) as caught:
        V3.decode_export(a_reply({"code": 7, "message": "no " * 10_000}, 400))
    assert len(caught.value.message) <= 300


def test_a_code_of_a_thousand_digits_is_not_a_code() -> None:
    with pytest.raises(errors.ProtocolError):
        V3.decode_export(a_reply({"code": 10**1000, "data": {}}))
    with pytest.raises(errors.BadRequestError) as caught:
        V3.decode_export(a_reply({"code": 10**1000, "message": "no"}, 400))
    assert caught.value.code is None
    assert not caught.value.is_from_vendor


@pytest.mark.parametrize("status_code", [300, 301, 302, 303, 307, 308, 399])
def test_a_redirect_is_a_matter_of_configuration(status_code: int) -> None:
    body = {"code": 200, "data": {"status": "WAITING"}}
    for decode in (V3.decode_export, lambda reply: V3.decode_task(reply, job_id="a")):
        with pytest.raises(errors.ConfigurationError, match=f"HTTP {status_code}.*HITPAW_API_BASE_URL"):
            decode(a_reply(body, status_code))


def test_a_rate_limit_says_how_long() -> None:
    with pytest.raises(errors.RateLimitError) as caught:
        V3.decode_export(a_reply({"code": 429, "message": "slow down"}, 429, retry_after_s=7.0))
    assert caught.value.retry_after_s == 7.0


def in_both_shapes(fields: dict[str, object]) -> list[dict[str, object]]:
    return [fields, {"code": 200, "message": "OK", "data": fields}, {"code": 0, **fields}, {"data": None, **fields}]


@pytest.mark.parametrize("shape", range(4))
@pytest.mark.parametrize(
    ("status_text", "status"),
    [
        ("WAITING", JobStatus.WAITING),
        ("CONVERTING", JobStatus.CONVERTING),
        ("ERROR", JobStatus.ERROR),
        ("error", JobStatus.ERROR),
        (" Converting ", JobStatus.CONVERTING),
        ("PENDING", JobStatus.WAITING),
        ("INPUT_PREPARING", JobStatus.WAITING),
        ("CONVERT_COMPLETED", JobStatus.CONVERTING),
        ("OUTPUT_SAVING", JobStatus.CONVERTING),
        ("OUTPUT_SAVED", JobStatus.CONVERTING),
        *[
            (word, JobStatus.ERROR)
            for word in (
                "ERROR_INTERRUPTION",
                "error interruption",
                "TIMEOUT",
                "CANCEL",
                "CANCELLED",
                "REJECT",
                "REJECTED",
                "NSFW",
            )
        ],
        ("PAUSED", JobStatus.UNRECOGNIZED),
        ("UNRECOGNIZED", JobStatus.UNRECOGNIZED),
        ("", JobStatus.UNRECOGNIZED),
        ("等待", JobStatus.UNRECOGNIZED),
    ],
)
def test_a_task_has_a_status_in_every_shape(shape: int, status_text: str, status: JobStatus) -> None:
    body = in_both_shapes({"job_id": JOB_ID, "status": status_text, "res_url": ""})[shape]
    job = V3.decode_task(a_reply(body), job_id=JOB_ID)
    assert job == Job(job_id=JOB_ID, status=status, status_text=status_text.strip(), res_url=None)
    assert job.status.is_final == (status is JobStatus.ERROR)


@pytest.mark.parametrize("shape", range(4))
def test_a_completed_task_has_its_result(shape: int) -> None:
    body = in_both_shapes({"job_id": JOB_ID, "status": "COMPLETED", "res_url": RESULT_URL})[shape]
    job = V3.decode_task(a_reply(body), job_id=JOB_ID)
    assert job.res_url == RESULT_URL
    assert job.status.is_final
    assert SIGNATURE not in repr(job)


def test_a_task_split_over_both_shapes_is_put_together() -> None:
    body = {"code": 200, "status": "COMPLETED", "res_url": RESULT_URL, "data": {"job_id": JOB_ID}}
    assert V3.decode_task(a_reply(body), job_id=JOB_ID).res_url == RESULT_URL


def test_a_task_without_a_job_id_is_about_the_job_that_was_asked_for() -> None:
    assert V3.decode_task(a_reply({"status": "WAITING"}), job_id=JOB_ID).job_id == JOB_ID


UNUSABLE_URLS = {
    "missing": ...,
    "null": None,
    "empty": "",
    "relative": "/enhanced.mp4",
    "no host": "https:///enhanced.mp4",
    "a file": "file:///etc/passwd",
    "a script": "javascript:alert(1)",
    "a newline": "https://cdn.example.com/\nx",
    "a surrogate": "https://cdn.example.com/\ud800",
    "a bracket": "https://[::1/x",
    "port 0": "https://cdn.example.com:0/x",
    "no port at all": "https://cdn.example.com:port/x",
    "too long": "https://cdn.example.com/" + "x" * 8192,
}


@pytest.mark.parametrize("url", UNUSABLE_URLS.values(), ids=UNUSABLE_URLS)
def test_completed_without_a_usable_result_is_not_believed(url: object) -> None:
    result = {} if url is ... else {"res_url": url}
    with pytest.raises(errors.ProtocolError, match="no usable res_url"):
        V3.decode_task(a_reply({"status": "COMPLETED", **result}), job_id=JOB_ID)
    assert V3.decode_task(a_reply({"status": "CONVERTING", **result}), job_id=JOB_ID).res_url is None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"job_id": JOB_ID},
        {"job_id": JOB_ID, "status": None},
        {"job_id": JOB_ID, "status": 1},
        {"job_id": JOB_ID, "status": True},
        {"job_id": JOB_ID, "status": ["WAITING"]},
        {"job_id": "another", "status": "WAITING"},
        {"job_id": "", "status": "WAITING"},
        {"job_id": 7, "status": "WAITING"},
        {"job_id": [JOB_ID], "status": "WAITING"},
        {"job_id": JOB_ID, "status": "WAITING", "res_url": 7},
        {"job_id": JOB_ID, "status": "COMPLETED", "res_url": [RESULT_URL]},
    ],
)
def test_a_task_that_leaves_a_doubt_is_not_understood(fields: dict[str, object]) -> None:
    for body in in_both_shapes(fields):
        with pytest.raises(errors.ProtocolError) as caught:
            V3.decode_task(a_reply(body), job_id=JOB_ID)
        assert a_decision(caught.value, CallKind.TASK).verdict is Verdict.RETRY
        assert SIGNATURE not in str(caught.value)


def test_an_unknown_status_is_kept_short() -> None:
    job = V3.decode_task(a_reply({"status": "A" * 1000 + "\n"}), job_id=JOB_ID)
    assert job.status is JobStatus.UNRECOGNIZED
    assert len(job.status_text) <= 60


def test_a_status_that_echoes_the_key_does_not_show_it() -> None:
    job = V3.decode_task(a_reply({"status": f"key {API_KEY} is busy"}), job_id=JOB_ID)
    assert job.status_text == "key *** is busy"


@pytest.mark.parametrize("job_id", [*JOB_IDS_REFUSED.values()], ids=JOB_IDS_REFUSED)
def test_nobody_is_asked_for_what_is_not_a_job_id(job_id: object) -> None:
    assert not is_job_id(job_id)
    with pytest.raises(errors.InvalidRequestError):
        V3.encode_task(job_id)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "status_text"),
    [
        ({"job_id": JOB_ID, "status": "COMPLETED", "res_url": RESULT_URL}, "COMPLETED"),
        ({"job_id": JOB_ID, "status": "ERROR"}, "ERROR"),
        ({"code": 200, "data": {"job_id": JOB_ID, "status": "WAITING"}}, "WAITING"),
        ({"job_id": JOB_ID}, ""),
    ],
)
def test_a_webhook_names_a_job(body: dict[str, object], status_text: str) -> None:
    webhook = V3.decode_webhook(json.dumps(body).encode())
    assert (webhook.job_id, webhook.status_text) == (JOB_ID, status_text)


WEBHOOKS_REFUSED = {name: body for name, body in NOT_UNDERSTOOD.items() if "code is" not in name}
WEBHOOKS_REFUSED |= {"a number": b'{"job_id":1}', "empty": b'{"job_id":""}', "a list": b'{"job_id":[]}'}


@pytest.mark.parametrize("body", WEBHOOKS_REFUSED.values(), ids=WEBHOOKS_REFUSED)
def test_a_webhook_that_is_not_understood_is_refused(body: bytes) -> None:
    with pytest.raises(errors.ProtocolError):
        V3.decode_webhook(body)


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("00000000000000120", 120.0),
        ("9" * 400, 1e7),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90.0),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0.0),
        ("Tue, 14 Nov 2023 23:13:20 +0100", 0.0),
        ("Tue, 14 Nov 2023 23:13:30 +0100", 10.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 1e7),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("1e3", None),
        ("Mon, 99 Nov 2023 22:13:20 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, now=NOW) == seconds


@given(header=st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} [\d:]{1,9} \S{0,5}"))
def test_any_retry_after_is_read_or_ignored(header: str) -> None:
    seconds = parse_retry_after(header, now=NOW)
    assert seconds is None or 0 <= seconds <= 1e7


SECRETS = st.sampled_from([API_KEY, RESULT_URL, f"key={API_KEY}", f"x {RESULT_URL} {API_KEY} y"])
TEXTS = st.text(max_size=30) | SECRETS | st.builds(str.__add__, st.text(max_size=400), SECRETS)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
CODES = st.sampled_from([200, 0, 501001, 501002, 501016, 429, 500, 1]) | VALUES
JOBS = st.fixed_dictionaries(
    {},
    optional={
        "job_id": st.just(JOB_ID) | VALUES,
        "status": st.sampled_from(["WAITING", "COMPLETED", "ERROR", "PAUSED"]) | VALUES,
        "res_url": st.just(RESULT_URL) | VALUES,
        "consume_coins": VALUES,
    },
)
REPLIES = st.builds(
    lambda top, rest: {**rest, **top},
    st.fixed_dictionaries({}, optional={"code": CODES, "error_code": CODES, "message": VALUES, "msg": VALUES}),
    JOBS | st.builds(lambda data: {"data": data}, JOBS | VALUES),
)
STATUSES = st.sampled_from([200, 200, 200, 201, 302, 400, 401, 402, 404, 429, 500, 503])


def decoded(reply: Reply, kind: CallKind) -> Job | errors.HitPawError:
    try:
        return V3.decode_export(reply) if kind is CallKind.EXPORT else V3.decode_task(reply, job_id=JOB_ID)
    except errors.HitPawError as error:
        return error


def shows(answer: Job | errors.HitPawError) -> str:
    """Everything of an answer that a log, a traceback or a journal could keep, but for the ids it is about."""
    if isinstance(answer, errors.HitPawError):
        return f"{answer} {answer!r} {vars(answer)}"
    return f"{answer.status_text} {answer.status}"


@pytest.mark.parametrize("kind", CallKind)
@given(body=st.binary(max_size=200), status_code=STATUSES)
def test_any_bytes_are_a_job_or_one_of_our_errors(kind: CallKind, body: bytes, status_code: int) -> None:
    decoded(a_reply(body, status_code), kind)


@pytest.mark.parametrize("kind", CallKind)
@given(body=REPLIES | VALUES, status_code=STATUSES)
def test_any_json_is_a_job_or_one_of_our_errors_and_shows_no_secret(
    kind: CallKind, body: object, status_code: int
) -> None:
    answer = decoded(a_reply(body, status_code), kind)
    assert API_KEY not in shows(answer)
    assert SIGNATURE not in shows(answer)


@given(body=REPLIES)
def test_an_export_is_a_job_only_with_the_id_that_the_vendor_gave(body: dict[str, object]) -> None:
    answer = decoded(a_reply(body), CallKind.EXPORT)
    if isinstance(answer, Job):
        assert is_job_id(answer.job_id)
        assert json.dumps(answer.job_id)[1:-1] in json.dumps(body)


@given(body=REPLIES)
def test_a_completed_job_always_has_a_result(body: dict[str, object]) -> None:
    answer = decoded(a_reply(body), CallKind.TASK)
    if isinstance(answer, Job):
        assert answer.job_id == JOB_ID
        assert (answer.status is not JobStatus.COMPLETED) or answer.res_url
