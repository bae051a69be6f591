"""Identity of the video that a URL names, independent of spelling and signature. Pure.

Two spellings are one video where RFC 3986 says that they are equivalent (6.2.2 and 6.2.3): letters of scheme and host,
the default port, percent-encoding of what needs none, dot segments, an empty path or query. A fragment is never sent. A
name is the same in Unicode and in punycode, and with the dot that ends it.

A signature says who may fetch it until when, and not what it is. The parameters that sign are left out, only where a
signature is among them, and all others stay: `?id=5` is another video than `?id=6`, and so is a version or a process.
Parameters of no scheme in the table are kept: two payments are a lesser harm than a video that is never enhanced.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import unicodedata
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import attrs

__all__ = ["canonical_url", "is_signed"]

_PLAIN: Final = re.compile(
    r"https?://[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*)+"
)
"""A URL that is in its canonical form, as most are."""

_HOST: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_ALLOWED_IN_URLS: Final = "!#$%&'()*+,/:;=?@[]~"
"""Characters that `quote` leaves alone: all that RFC 3986 allows in a path or a query."""
_NEEDS_NO_CODE: Final = re.compile(rf"[A-Za-z0-9._{re.escape(_ALLOWED_IN_URLS)}-]*")
_HEX_OCTETS: Final = tuple(f"%{number:02X}" for number in range(256))


@attrs.frozen(kw_only=True)
class _Signing:
    """Signature scheme of one service. Names of parameters are in lower case."""

    telling: dict[str, re.Pattern[str] | None]
    """The parameters that are all there where it signed, with what their values look like, where names don't tell."""
    names: frozenset[str] = frozenset()
    """Other parameters of the signature."""
    prefix: str | None = None
    """Prefix of the names of more such parameters."""
    kept: frozenset[str] = frozenset()
    """Parameters with that prefix that decide what is fetched."""
    path: re.Pattern[str] | None = None
    """Pattern of the path, if the parameters alone don't tell."""

    def has_signed(self, path: str, values: dict[str, str]) -> bool:
        """Tell if a URL with this path and these parameters was signed this way."""
        return all(
            name in values and (pattern is None or pattern.match(values[name]) is not None)
            for name, pattern in self.telling.items()
        ) and (self.path is None or self.path.search(path) is not None)

    def takes(self, name: str) -> bool:
        """Tell if a parameter belongs to the signature."""
        is_prefixed = self.prefix is not None and name.startswith(self.prefix) and name not in self.kept
        return is_prefixed or name in self.names or name in self.telling


def _signing(
    *telling: str,
    names: str = "",
    prefix: str | None = None,
    kept: str = "",
    path: re.Pattern[str] | None = None,
    **values: str,
) -> _Signing:
    """A row of the table; `telling` are parameters whose values may be anything, `values` say what theirs look like."""
    patterns = {name: re.compile(value, re.IGNORECASE) for name, value in values.items()}
    return _Signing(
        telling={**dict.fromkeys(telling), **patterns},
        names=frozenset(names.split()),
        prefix=prefix,
        kept=frozenset(kept.split()),
        path=path,
    )


_DATE: Final = r"\d{4}-\d{2}-\d{2}"
_MOMENT: Final = r"\d{9,13}$"
_HMAC: Final = ".*hmac(=|%3D)"
_FILE: Final = re.compile(r"/[^/]*\.[A-Za-z0-9]{2,5}$")
"""The path of a file, which says what it is by itself."""

_SAS: Final = "sv ss srt se sr sp sig st spr sip si skoid sktid skt ske sks skv saoid suoid scid sdd ses sduoid"

_SIGNINGS: Final = (
    # Amazon S3 and those that sign as it does (R2, B2, Spaces, Wasabi, MinIO, Ceph). `x-id` is its JavaScript SDK's.
    _signing("x-amz-signature", prefix="x-amz-", names="x-id"),
    _signing("awsaccesskeyid", "signature", names="expires x-amz-security-token"),
    # Google Cloud Storage, then its CDN.
    _signing("x-goog-signature", prefix="x-goog-"),
    _signing("googleaccessid", "signature", names="expires"),
    _signing("keyname", "signature", names="expires urlprefix"),
    # Amazon CloudFront.
    _signing("key-pair-id", "signature", names="expires policy hash-algorithm"),
    # Azure: a shared access signature has its version, or ends at a date.
    _signing("sig", names=_SAS, sv=_DATE),
    _signing("sig", names=_SAS, se=_DATE),
    # Alibaba OSS, Volcengine TOS, Tencent COS, Huawei OBS, Kingsoft KS3, UCloud, Baidu BOS, Qiniu, Backblaze B2.
    _signing("x-oss-signature", prefix="x-oss-", kept="x-oss-process"),
    _signing("ossaccesskeyid", "signature", names="expires security-token"),
    _signing("x-tos-signature", prefix="x-tos-", kept="x-tos-process"),
    _signing("q-signature", prefix="q-", names="x-cos-security-token"),
    _signing("accesskeyid", "signature", names="expires x-obs-security-token"),
    _signing("kssaccesskeyid", "signature", names="expires"),
    _signing("ucloudpublickey", "signature", names="expires"),
    _signing(authorization=r"bce-auth-v1(/|%2F)"),
    _signing(e=_MOMENT, token=r".*(:|%3A)"),  # noqa: S106 (what a value looks like)
    _signing("authorization", path=re.compile("/file/")),
    # CDNs: Akamai and those that took over its token, Alibaba, Tencent, Wangsu, Cloudflare.
    _signing(hdnts=_HMAC),
    _signing(hdnea=_HMAC),
    _signing(hdntl=_HMAC),
    _signing(__token__=_HMAC),
    _signing(auth_key=r"\d{9,11}-[^-]+-[^-]+-[0-9a-f]{32}$"),
    _signing(sign=r"\d{9,11}-[^-]+-[^-]+-[0-9a-f]{32}$"),
    _signing(sign="[0-9a-f]{32}$", t="[0-9a-f]{8}$", names="us rlimit exper"),
    _signing("wssecret", "wstime"),
    _signing(verify=r"\d{9,11}-.{20}"),
    # SharePoint and OneDrive, Discord, Supabase.
    _signing("tempauth"),
    _signing("ex", "is", hm="[0-9a-f]{64}$"),
    _signing("token", path=re.compile("/storage/v1/object/sign/")),
    # Laravel; then Bunny, nginx's secure_link and alike, whose names tell so little that the path must name a file.
    _signing("signature", "expires"),
    _signing("token", expires=_MOMENT, names="token_path token_countries", path=_FILE),
    _signing("md5", expires=_MOMENT, path=_FILE),
)

_BY_NAME: Final[dict[str, list[_Signing]]] = {}
for _each in _SIGNINGS:
    _BY_NAME.setdefault(next(iter(_each.telling)), []).append(_each)
"""The table by the first of the telling parameters."""


@functools.lru_cache(maxsize=256)
def canonical_url(url: str) -> str:
    """The one spelling of all URLs of a video, without signatures. It is for comparing, not for fetching.

    Returns:
        The same text where it is no http or https URL.
    """
    if _PLAIN.fullmatch(url):
        return url
    try:
        parts = urlsplit(url)
        port, host = parts.port, _host(parts.hostname or "")
    except ValueError:
        return url
    if parts.scheme not in _DEFAULT_PORTS:
        return url
    user, separator, _ = parts.netloc.rpartition("@")
    path = _without_dots(_spelt(parts.path)) or "/"
    query = _without_signature(path, _spelt(parts.query))
    return "".join(
        (
            f"{parts.scheme}://",
            f"{user}{separator}" if user else "",
            host,
            "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}",
            path,
            f"?{query}" if query else "",
        )
    )


def is_signed(url: str) -> bool:
    """Tell if a URL has a signature, which may have expired."""
    query = url.partition("#")[0].partition("?")[2]
    return bool(query) and canonical_url(url).partition("?")[2] != _spelt(query)


def _host(name: str) -> str:
    """A host in lower case, in punycode, without the dot that ends it.

    Raises:
        ValueError: It is no host.
    """
    if ":" in name:
        return f"[{ipaddress.IPv6Address(name)}]"
    bare = unquote(name).lower()
    if not bare.isascii():
        # Not the codec `idna`, which is of 2003: it takes straße.de for strasse.de, which may be somebody else's.
        labels = re.split("[.\u3002\uff0e\uff61]", unicodedata.normalize("NFKC", bare).lower())
        bare = ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)
    bare = bare.removesuffix(".")
    if not _HOST.fullmatch(bare):
        raise ValueError("it is no host")
    return bare


def _spelt(text: str) -> str:
    """A path or query with percent-encoding where it is needed, and nowhere else."""
    if "%" in text:
        text = _ENCODED.sub(_respelt, text)
    return text if _NEEDS_NO_CODE.fullmatch(text) else quote(text, safe=_ALLOWED_IN_URLS, errors="surrogatepass")


def _respelt(match: re.Match[str]) -> str:
    octet = int(match[1], 16)
    return chr(octet) if chr(octet) in _UNRESERVED else _HEX_OCTETS[octet]


def _without_dots(path: str) -> str:
    """A path without dot segments. Source: RFC 3986, 5.2.4."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments[1:]:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    is_folder = segments[-1] in (".", "..") and bool(kept)
    return "/" + "/".join(kept) + ("/" if is_folder else "")


def _without_signature(path: str, query: str) -> str:
    """A query without the parameters that sign, where there is a signature among them."""
    if not query:
        return query
    fields = [(field.partition("=")[0].lower(), field) for field in query.split("&")]
    values = {name: field.partition("=")[2] for name, field in fields}
    signed_by = [each for name in values for each in _BY_NAME.get(name, ()) if each.has_signed(path, values)]
    if not signed_by:
        return query
    left = [field for name, field in fields if field and not any(signing.takes(name) for signing in signed_by)]
    return "&".join(left)
