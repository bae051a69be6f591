"""The few requests that obstore has no call for, signed by hand: making a bucket, listing unfinished uploads."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import re
import urllib.error
import urllib.request
from email.utils import formatdate
from urllib.parse import urlsplit

_REGION = "us-east-1"
_NO_BODY = hashlib.sha256(b"").hexdigest()


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def s3_request(method: str, url: str, key_id: str, secret: str) -> bytes:
    """Send a request without a body to S3; the answer's body. Source: AWS Signature Version 4."""
    parts = urlsplit(url)
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    day, host = moment[:8], parts.netloc
    query = "&".join(
        sorted(f"{name}={value}" for name, _, value in (p.partition("=") for p in parts.query.split("&") if p))
    )
    headers = f"host:{host}\nx-amz-content-sha256:{_NO_BODY}\nx-amz-date:{moment}\n"
    signed = "host;x-amz-content-sha256;x-amz-date"
    canonical = "\n".join((method, parts.path or "/", query, headers, signed, _NO_BODY))
    scope = f"{day}/{_REGION}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = _mac(_mac(_mac(_mac(f"AWS4{secret}".encode(), day), _REGION), "s3"), "aws4_request")
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    sent = {
        "x-amz-date": moment,
        "x-amz-content-sha256": _NO_BODY,
        "authorization": f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={signed}, Signature={signature}",
    }
    target = f"{parts.scheme}://{host}{parts.path or '/'}" + (f"?{query}" if query else "")
    with urllib.request.urlopen(urllib.request.Request(target, method=method, headers=sent), timeout=10) as answer:
        return bytes(answer.read())


def make_bucket(endpoint: str, bucket: str, key_id: str, secret: str) -> None:
    s3_request("PUT", f"{endpoint}/{bucket}", key_id, secret)


def pending_uploads(endpoint: str, bucket: str, key_id: str, secret: str) -> list[str]:
    body = s3_request("GET", f"{endpoint}/{bucket}?uploads=", key_id, secret).decode()
    return re.findall(r"<Upload>.*?<Key>([^<]*)</Key>", body, re.DOTALL)


def make_container(endpoint: str, container: str, account: str, key: str) -> None:
    """Make a container of Azure's. Source: Authorize with Shared Key."""
    moment, version = formatdate(usegmt=True), "2021-08-06"
    path = f"{urlsplit(endpoint).path}/{container}"
    lines = [
        "PUT",
        *[""] * 11,
        f"x-ms-date:{moment}",
        f"x-ms-version:{version}",
        f"/{account}{path}",
        "restype:container",
    ]
    mac = hmac.new(base64.b64decode(key), "\n".join(lines).encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": moment,
        "x-ms-version": version,
        "content-length": "0",
        "authorization": f"SharedKey {account}:{base64.b64encode(mac).decode()}",
    }
    request = urllib.request.Request(f"{endpoint}/{container}?restype=container", method="PUT", headers=headers)
    with urllib.request.urlopen(request, timeout=10):
        pass
