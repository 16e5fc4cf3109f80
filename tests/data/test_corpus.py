import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from data_helpers import TEXT, text_of, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from char_rnn.data import reading
from char_rnn.data.corpus import Corpus, prepare_corpus
from char_rnn.data.datasets import data_root
from char_rnn.data.errors import DataError
from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary


def test_a_file_is_encoded_into_a_map(tmp_path: Path) -> None:
    corpus = prepare_corpus(write(tmp_path / "poem.txt", TEXT))
    assert text_of(corpus) == TEXT
    assert (corpus.name, len(corpus)) == ("poem", len(TEXT))
    assert isinstance(corpus.ids, np.memmap)
    assert corpus.ids.dtype == np.uint8
    assert corpus.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert corpus.vocabulary == Vocabulary.from_text(TEXT)


def test_bytes_are_kept_as_they_are(tmp_path: Path) -> None:
    content = TEXT.encode() + b"\xff\xfe\x80"
    corpus = prepare_corpus(write(tmp_path / "data", content), vocabulary="bytes", encoding="utf-16")
    assert corpus.vocabulary.decode_bytes(corpus.ids) == content


def test_many_characters_take_two_bytes_each(tmp_path: Path) -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    corpus = prepare_corpus(write(tmp_path / "hanzi.txt", text))
    assert corpus.ids.dtype == np.uint16
    assert text_of(corpus) == text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.text(min_size=1), st.integers(1, 9), st.sampled_from(["utf-8", "utf-16", "utf-8-sig", "utf-32-le"]))
def test_any_text_survives_any_piece_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, piece: int, encoding: str
) -> None:
    monkeypatch.setattr(reading, "PIECE", piece)
    corpus = prepare_corpus(write(tmp_path / "text", text.encode(encoding)), encoding=encoding)
    assert text_of(corpus) == text


def test_a_byte_order_mark_is_a_character_unless_the_encoding_takes_it(tmp_path: Path) -> None:
    path = write(tmp_path / "bom.txt", b"\xef\xbb\xbfhi")
    assert text_of(prepare_corpus(path)) == "\ufeffhi"
    assert text_of(prepare_corpus(path, encoding="utf-8-sig")) == "hi"


def test_latin_1_on_demand(tmp_path: Path) -> None:
    assert text_of(prepare_corpus(write(tmp_path / "old.txt", b"caf\xe9"), encoding="latin-1")) == "café"


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"abc\xe9 def", "utf-8", "byte 0xE9 at offset 3 is not utf-8"),
        (b"a" * (reading.PIECE - 1) + b"\xc3\xc3", "utf-8", f"byte 0xC3 at offset {reading.PIECE - 1} "),
        (b"abc\xe2\x82", "utf-8", "byte 0xE2 at offset 3 is not utf-8"),
        (b"\xff\xfea\x00b", "utf-16", "byte 0x62 at offset 4 is not utf-16"),
        (b"abcd\xff", "ascii", "byte 0xFF at offset 4 is not ascii"),
    ],
)
def test_undecodable_text_is_reported_with_its_offset(
    tmp_path: Path, content: bytes, encoding: str, message: str
) -> None:
    path = write(tmp_path / "bad.txt", content)
    with pytest.raises(DataError) as caught:
        prepare_corpus(path, encoding=encoding)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert str(caught.value).endswith("(--encoding latin-1, cp1252, utf-16 ...) or use --vocabulary bytes")


@pytest.mark.parametrize("encoding", ["utf8000", "rot13", "hex", "", "a\0b", "undefined"])
def test_unknown_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match=r"encoding .*: unknown; use a name such as utf-8"):
        prepare_corpus(write(tmp_path / "text", "x"), encoding=encoding)


def test_an_unknown_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vocabulary kind 'words': must be one of characters, bytes"):
        prepare_corpus(write(tmp_path / "text", "x"), vocabulary="words")


def test_empty_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the text is empty; training needs batch_size x seq_length \+ 1"):
        prepare_corpus(write(tmp_path / "empty.txt", ""))


def test_a_given_vocabulary_is_used(tmp_path: Path) -> None:
    path = write(tmp_path / "text", "cab")
    vocabulary = Vocabulary.from_text("abcdef")
    corpus = prepare_corpus(path, vocabulary=vocabulary)
    assert (corpus.vocabulary, corpus.ids.tolist()) == (vocabulary, [2, 0, 1])
    assert prepare_corpus(path).vocabulary == Vocabulary.from_text("abc")


def test_a_character_that_a_given_vocabulary_lacks_is_placed(tmp_path: Path) -> None:
    path = write(tmp_path / "text", "a" * (reading.PIECE + 5) + "é")
    with pytest.raises(UnknownCharacterError) as caught:
        prepare_corpus(path, vocabulary=Vocabulary.from_text("a"))
    assert str(caught.value).startswith(f"{path}: unknown character 'é' (U+00E9) at position {reading.PIECE + 5}")
    assert (caught.value.character, caught.value.position) == ("é", reading.PIECE + 5)
    assert list((data_root() / "cache").iterdir()) == []


def test_a_mapped_corpus_pickles_without_its_text(tmp_path: Path) -> None:
    corpus = prepare_corpus(write(tmp_path / "text", TEXT * 1000))
    data = pickle.dumps(corpus)
    assert len(data) < 2000
    assert text_of(pickle.loads(data)) == TEXT * 1000


def test_a_corpus_in_memory() -> None:
    corpus = Corpus.from_text("hello", name="greeting")
    assert (corpus.name, corpus.ids.tolist(), len(corpus)) == ("greeting", [1, 0, 2, 2, 3], 5)
    assert corpus.sha256 == hashlib.sha256(b"hello").hexdigest()
    copy = pickle.loads(pickle.dumps(corpus))
    assert text_of(copy) == "hello"
    assert Corpus.from_text("é", vocabulary="bytes").ids.tolist() == [1, 0]
    assert Corpus.from_text("b", vocabulary=Vocabulary.from_text("abc")).ids.tolist() == [1]
