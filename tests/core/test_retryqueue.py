from __future__ import annotations

from hitpaw_async._core.retry_queue import RetryQueue


def test_what_is_due_longest_comes_first_and_nothing_comes_early() -> None:
    queue = RetryQueue(10.0, 160.0)
    queue.put("a", "disk", now=1.0)
    queue.put("b", "disk", now=0.0)
    assert (queue.due_at, queue.take(9.9)) == (10.0, None)
    assert [queue.take(11.0), queue.take(11.0), queue.take(11.0)] == ["b", "a", None]
    assert queue.due_at == float("inf")


def test_the_pause_grows_up_to_its_bound_while_the_reason_stays() -> None:
    queue, now, pauses = RetryQueue(10.0, 160.0), 0.0, []
    for _ in range(7):
        queue.put("a", "disk", now=now)
        pauses.append(queue.due_at - now)
        now = queue.due_at
        assert queue.take(now) == "a"
    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 160.0, 160.0]


def test_another_reason_is_news_and_begins_anew() -> None:
    queue = RetryQueue(10.0, 160.0)
    news = []
    for now, reason in ((0.0, "late"), (100.0, "late"), (200.0, "disk"), (300.0, "late")):
        news.append(queue.put("a", reason, now=now))
        assert queue.take(now + 20.0) == "a"
    assert news == [True, False, True, True]
    queue.put("a", "late", now=400.0)
    assert queue.due_at == 420.0


def test_who_has_come_to_an_end_is_as_new() -> None:
    queue = RetryQueue(10.0, 160.0)
    queue.put("a", "disk", now=0.0)
    assert queue.take(10.0) == "a"
    queue.forget("a")
    queue.forget("never seen")
    assert queue.put("a", "disk", now=20.0)
    assert queue.due_at == 30.0
