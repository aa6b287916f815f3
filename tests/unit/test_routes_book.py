"""The last word counts, from whomever it comes and in whichever order."""

from __future__ import annotations

import pytest

from hamanager.contracts.endpoint import Listener, ListenerKind, Route
from hamanager.contracts.routes import Told, Word
from hamanager.routes.book import FRESH_SECONDS, PUT_BACK_SECONDS, Book


def word(version: int, *instances: str) -> Word:
    routes = tuple(Route(instance=name, host="10.0.0.1", port=20001) for name in instances)
    told = Listener(
        name="db", kind=ListenerKind.PRIMARY, host="10.0.0.1", port=20000, routes=routes
    )
    return Word(version=version, listeners=(told,))


def told(
    version: int,
    after: int = 0,
    *,
    old_seconds: float = 0.0,
    also: tuple[str, ...] = (),
    **words: Word,
) -> Told:
    return Told(
        after=after,
        version=version,
        services=frozenset({*words, *also}),
        words=words,
        heard_seconds_ago=old_seconds,
    )


class Now:
    """Time that passes only when told to."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def book(now: Now) -> Book:
    return Book(now)


def test_a_later_word_replaces_an_earlier_one_and_never_the_other_way_round(book: Book) -> None:
    assert book.hear(told(5, db=word(4, "db.0"))) == {"db"}
    assert book.hear(told(9, db=word(8, "db.1"))) == {"db"}
    assert book.hear(told(5, db=word(4, "db.0"))) == frozenset()
    assert book.word("db") == word(8, "db.1")
    assert book.version == 9


def test_what_is_not_news_changes_nothing(book: Book) -> None:
    book.hear(told(5, db=word(4)))
    assert book.hear(told(7, after=5, also=("db",))) == frozenset()
    assert book.word("db") == word(4)
    assert book.version == 7


def test_a_service_that_is_no_more_has_no_word(book: Book) -> None:
    book.hear(told(5, db=word(4), x=word(3)))
    assert book.hear(told(8, after=5, also=("x",))) == {"db"}
    assert book.word("db") is None
    assert book.services() == {"x"}


def test_an_answer_from_before_it_was_made_does_not_end_a_service(book: Book) -> None:
    book.hear(told(9, x=word(3), db=word(8)))
    assert book.hear(told(7, x=word(3))) == frozenset()
    assert book.word("db") == word(8)


def test_an_answer_from_before_its_end_does_not_bring_a_service_back(book: Book) -> None:
    book.hear(told(5, db=word(4)))
    book.hear(told(8, after=5))
    assert book.hear(told(6, db=word(4))) == frozenset()
    assert book.word("db") is None


def test_it_tells_what_is_later_than_what_was_asked_for(book: Book) -> None:
    book.hear(told(9, db=word(4), x=word(8)))
    assert book.told(0).words.keys() == {"db", "x"}
    answer = book.told(4)
    assert set(answer.words) == {"x"}
    assert answer.services == {"db", "x"}
    assert book.told(9).words == {}
    whole = book.told(20)
    assert whole.is_whole
    assert whole.words.keys() == {"db", "x"}


def test_there_is_news_when_a_word_or_an_end_is_later(book: Book) -> None:
    book.hear(told(5, db=word(4)))
    assert book.has_news(0)
    assert not book.has_news(5)
    book.hear(told(7, after=5, also=("db",)))
    assert not book.has_news(5), "only something else in the store has changed"
    book.hear(told(8, after=7))
    assert book.has_news(7)


def test_watchers_are_called_when_something_has_changed(book: Book) -> None:
    calls: list[int] = []
    with book.watched(lambda: calls.append(book.version)):
        book.hear(told(5, db=word(4)))
        book.hear(told(6, after=5, also=("db",)))
    book.hear(told(8, after=6))
    assert calls == [5]


def test_what_this_process_wrote_counts_at_once_and_is_told_when_nothing_is_missing(
    book: Book,
) -> None:
    """Another manager's word on another service may be on its way, with a smaller version."""
    book.hear(told(5, db=word(4, "db.0")))
    book.wrote("db", word(8, "db.1"))
    assert book.word("db") == word(8, "db.1")
    assert book.version == 5
    assert book.told(5).words == {}
    assert book.hear(told(8, after=5, db=word(8, "db.1"), x=word(7))) == {"db", "x"}
    assert book.told(5).words.keys() == {"db", "x"}


def test_what_this_process_wrote_is_forgotten_with_its_service(book: Book) -> None:
    book.wrote("db", word(8))
    book.hear(told(9))
    assert book.word("db") is None
    book.wrote("db", word(8))
    assert book.word("db") is None, "it is known that there is none"


def test_an_older_store_counts_when_nobody_has_known_better_for_a_while(
    book: Book, now: Now
) -> None:
    book.hear(told(50, db=word(40, "db.1"), x=word(45)))
    older = told(20, after=50, db=word(10, "db.0"))
    assert book.hear(older) == frozenset()
    now.seconds += PUT_BACK_SECONDS - 1
    assert book.hear(older) == frozenset()
    now.seconds += 2
    assert book.hear(older) == {"db", "x"}
    assert (book.word("db"), book.word("x"), book.version) == (word(10, "db.0"), None, 20)
    assert book.has_news(19)


def test_whoever_knows_better_keeps_an_older_one_from_counting(book: Book, now: Now) -> None:
    book.hear(told(50, db=word(40, "db.1")))
    older = told(20, after=50, db=word(10, "db.0"))
    for _ in range(5):
        now.seconds += PUT_BACK_SECONDS - 1
        book.hear(older)
        book.hear(told(50, after=50, also=("db",)))
    assert book.word("db") == word(40, "db.1")


def test_who_is_cut_off_from_the_store_is_not_believed_to_know_an_older_one(
    book: Book, now: Now
) -> None:
    book.hear(told(50, db=word(40, "db.1")))
    for _ in range(5):
        now.seconds += PUT_BACK_SECONDS
        book.hear(told(20, after=50, old_seconds=FRESH_SECONDS + 1, db=word(10, "db.0")))
    assert book.word("db") == word(40, "db.1")


def test_it_says_when_it_last_heard(book: Book, now: Now) -> None:
    book.hear(told(5))
    now.seconds += 4
    assert book.told().heard_seconds_ago == pytest.approx(4)
    book.hear(told(5, old_seconds=2.0))
    assert book.told().heard_seconds_ago == pytest.approx(2)
