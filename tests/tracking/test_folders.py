import pytest

from src.tracking.folders import few_words

POOL = (
    "API request to http://host/api failed with exception HTTPConnectionPool(host='host', port=1): Max retries exceeded"
)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        (f"{POOL} (Caused by NewConnectionError('<x>: [Errno 111] Connection refused'))", "Connection refused"),
        (f"{POOL} (Caused by ResponseError('too many 503 error responses'))", "too many 503 error responses"),
        (f"{POOL}: Read timed out. (read timeout=30)", "timed out"),
        ("(sqlite3.OperationalError) database is locked [SQL: UPDATE ...]", "database is locked"),
        ("[Errno 28] No space left on device: 'file'", "No space left on device:"),
        ("first line\nsecond line", "first line"),
        ("", "RuntimeError"),
    ],
)
def test_a_few_words_tell_what_is_wrong(sentence: str, words: str) -> None:
    assert few_words(RuntimeError(sentence)) == words
