from __future__ import annotations

import os

import attrs
import pytest

from hitpaw_async.media._sources import SourceFile


@attrs.define
class Bytes:
    """A source in memory that fails from a position on."""

    content: bytes
    fails_at: int = 1 << 30
    size_bytes: int | None = 100
    sample_bytes_max: int = 1 << 20
    reads: int = 0

    def read_at(self, position: int, count: int) -> bytes:
        self.reads += 1
        if position >= self.fails_at:
            raise KeyError("the source's own")
        return self.content[position : position + count]


def test_it_reads_and_seeks_as_a_file_does() -> None:
    file = SourceFile(Bytes(bytes(range(100))))
    assert file.read(3) == b"\x00\x01\x02"
    assert (file.seek(-2, os.SEEK_END), file.read(9), file.read(9)) == (98, b"\x62\x63", b"")
    assert (file.seek(5), file.seek(5, os.SEEK_CUR), file.tell()) == (5, 10, 10)
    assert (file.seek(-1), file.tell()) == (-1, 10)


def test_without_a_size_there_is_no_end_to_seek_from() -> None:
    assert SourceFile(Bytes(b"", size_bytes=None)).seek(0, os.SEEK_END) == -1


def test_a_failure_is_kept_not_raised_into_pyav_and_ends_the_reading() -> None:
    source = Bytes(bytes(100), fails_at=10)
    file = SourceFile(source)
    assert len(file.read(10)) == 10
    assert (file.read(10), file.read(10)) == (b"", b"")
    assert isinstance(file.failure, KeyError)
    with pytest.raises(OSError, match="source failed"):
        file.read_at(0, 1)
    assert source.reads == 2
