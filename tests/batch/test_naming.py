"""Names of results: what a template may say, that each is safe everywhere, and that no two are the same."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from hitpaw_async import AsyncHitPaw, ConfigurationError
from hitpaw_async.batch.file_names import NAME_FIELDS, NamesTaken, NameTemplate
from tests.batch.laboratory import video

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{stem}{ext}", "clip one.mp4"),
        ("{stem}_{model}_{width}x{height}{ext}", "clip one_general-denoise-balance_1280x720.mp4"),
        ("{key}{ext}", "k_1.mp4"),
        ("CON{ext}", "_CON.mp4"),
        ("{{{stem}}}{ext}", "{clip one}.mp4"),
    ],
)
def test_a_name_is_made_of_its_fields_and_safe_on_every_system(text: str, name: str) -> None:
    assert next(NameTemplate(text).candidates(video("films/clip%20one", key="k/1"))) == name


def test_further_names_tell_items_apart() -> None:
    first, second, third = itertools.islice(NameTemplate().candidates(video("a", key="k")), 3)
    other = list(itertools.islice(NameTemplate().candidates(video("b/a", key="other")), 2))
    assert first == other[0] == "a.mp4"
    assert len({first, second, third, other[1]}) == 4
    assert second.startswith("a-")


@pytest.mark.parametrize(
    "text", ["", "x.mp4", "{", "{foo}", "{stem:>9}", "{stem!r}", "{stem.x}", "{0}", "a/{stem}", "a\\{stem}"]
)
def test_a_template_that_cannot_be_used_names_the_fields(text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        NameTemplate(text)
    assert all(f"{{{field}}}" in str(raised.value) for field in NAME_FIELDS)


async def test_two_sources_of_one_name_get_two_targets_before_anything_is_spent(tmp_path: object) -> None:
    async with AsyncHitPaw(api_key="key", base_url="http://127.0.0.1:9") as hitpaw:
        async with hitpaw.batch(journal=None, output=f"{tmp_path}/out") as batch:
            await batch.enqueue([video("one/film", key="a"), video("two/FILM", key="b"), video("three/film", key="c")])
            items = [await batch._bookkeeper.journal.do(lambda store, key=key: store.get(key)) for key in "abc"]
    targets = [item.target for item in items if item is not None and item.target is not None]
    assert targets[0] == "film.mp4"
    assert len({target.casefold() for target in targets}) == 3


async def test_files_in_the_folder_keep_their_names_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "FILM.mp4").write_text("somebody's")
    async with AsyncHitPaw(api_key="key", base_url="http://127.0.0.1:9") as hitpaw:
        async with hitpaw.batch(journal=None, output=tmp_path) as batch:
            await batch.enqueue([video("film", key="a"), video("other", key="b")])
            items = [await batch._bookkeeper.journal.do(lambda store, key=key: store.get(key)) for key in "ab"]
    targets = [item.target for item in items if item is not None and item.target is not None]
    assert targets[0].startswith("film-")
    assert targets[1] == "other.mp4"


def test_a_folder_of_many_results_takes_little_memory() -> None:
    names = NamesTaken(f"{number}.mp4" for number in range(100_000))
    assert "99999.MP4" in names
    assert "100000.mp4" not in names
    assert len(names._hashes) * names._hashes.itemsize == 800_000
