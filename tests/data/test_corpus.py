"""A text, split and prepared."""

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from data_helpers import TEXT, text_of, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from char_rnn.data import DataError, reading
from char_rnn.data.corpus import Corpus, prepare_corpus, split_bounds
from char_rnn.data.datasets import data_root
from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary, VocabularyKind


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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
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
        (b"abc\\x4", "unicode_escape", "byte 0x5C at offset 3 is not unicode-escape"),
    ],
)
def test_undecodable_text_is_reported_with_its_offset(
    tmp_path: Path, content: bytes, encoding: str, message: str
) -> None:
    path = write(tmp_path / "bad.txt", content)
    with pytest.raises(DataError) as caught:
        prepare_corpus(path, encoding=encoding)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert str(caught.value).endswith("or use --vocabulary bytes")


@pytest.mark.parametrize(
    ("content", "encoding"), [(b"\\xe9abc\\ud800x", "unicode_escape"), (b"+AOk-abc+2AA-x", "utf-7")]
)
def test_half_a_character_is_reported_with_its_position(tmp_path: Path, content: bytes, encoding: str) -> None:
    path = write(tmp_path / "bad.txt", content)
    with pytest.raises(DataError, match=r"bad\.txt: U\+D800 at position 4 is half a character"):
        prepare_corpus(path, encoding=encoding)


@pytest.mark.parametrize(
    ("content", "encoding", "guess"),
    [
        ("Fran\u00e7ois said \u201cd\u00e9j\u00e0 vu\u201d \u2013 twice".encode("cp1252"), "utf-8", "cp1252"),
        ("caf\u00e9".encode("latin-1"), "utf-8", "cp1252"),
        ("hello".encode("utf-16"), "utf-8", "utf-16"),
        ("hello".encode("utf-32"), "utf-8", "utf-32"),
        ("more than sixteen bytes".encode("utf-16"), "utf-8", "utf-16"),
        ("more than sixteen bytes".encode("utf-32"), "cp1252", "utf-32"),
        ("d\u00e9j\u00e0".encode(), "ascii", "utf-8"),
        ("I\u2019m here, isn\u2019t that so? He said that I\u2019ll go. ".encode() + b"\xff", "utf-8", None),
        ("every other byte".encode("utf-16-le"), "utf-8", "utf-16-le"),
        ("d\u00e9j\u00e0 vu, every other byte".encode("utf-16-be"), "utf-8", "utf-16-be"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442".encode("cp1251"), "utf-8", None),
        ("\u017c\u00f3\u0142w, mi\u0142o\u015b\u0107 i s\u0142o\u0144".encode("cp1250"), "utf-8", None),
        ("ein K\u00f6nig, drei S\u00f6hne, keiner wu\u00dfte es".encode("cp850"), "utf-8", None),
        ("\u4f60\u597d, hello and goodbye".encode("gb18030"), "utf-8", None),
    ],
)
def test_an_encoding_is_named_where_it_is_plain(tmp_path: Path, content: bytes, encoding: str, guess: str) -> None:
    with pytest.raises(DataError) as caught:
        prepare_corpus(write(tmp_path / "old.txt", content), encoding=encoding)
    expected = (
        f"it looks like {guess}: give --encoding {guess}," if guess else "(--encoding cp1252, latin-1, utf-16 ...)"
    )
    assert expected in str(caught.value)


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
    with pytest.raises(DataError, match=r"the text is empty$"):  # to evaluate a model
        prepare_corpus(write(tmp_path / "empty.txt", ""), vocabulary=Vocabulary.from_text("ab"))


def test_a_text_in_place_of_a_path_gets_a_short_message() -> None:
    for text in ("To be,\nor not to be", "x" * 20_000, "line\n" * 4_000):
        with pytest.raises(ValueError, match="looks like a text, not a path; save it in a file") as caught:
            prepare_corpus(text)
        assert len(str(caught.value)) < 200


def test_a_binary_file_is_named_as_that(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="byte 0x89 at offset 0 is not utf-8; it looks like a binary file: give a text"):
        prepare_corpus(write(tmp_path / "picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"))


def test_no_encoding_is_guessed_for_bad_escapes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"offset 3 is not unicode-escape; give its encoding"):
        prepare_corpus(write(tmp_path / "bad.txt", b"abc\\x4"), encoding="unicode_escape")


@pytest.mark.parametrize("source", [[], 3, [3], None])
def test_what_is_no_path_is_refused(source: object) -> None:
    with pytest.raises(DataError, match="must be the path of a text, or a list of paths"):
        prepare_corpus(source)  # type: ignore[arg-type]


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


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_a_given_vocabulary_grows_by_what_the_text_adds(tmp_path: Path, kind: VocabularyKind) -> None:
    path = write(tmp_path / "text", "a" * reading.PIECE + "züöb")
    old = Vocabulary.from_text("cba", kind)
    grown = prepare_corpus(path, vocabulary=old, grow=True)
    assert grown.vocabulary.symbols == (*old.symbols, *sorted(set(Vocabulary.from_text("üöz", kind).symbols)))
    assert text_of(grown) == "a" * reading.PIECE + "züöb"
    again = prepare_corpus(path, vocabulary=grown.vocabulary)
    assert (again.vocabulary, again.sha256) == (grown.vocabulary, grown.sha256)
    assert prepare_corpus(path, vocabulary=grown.vocabulary, grow=True).vocabulary == grown.vocabulary
    assert len(list((data_root() / "cache").glob("*.ids"))) == 1  # one entry for all


def test_standard_input_can_add_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("añb".encode())))
    corpus = prepare_corpus("-", vocabulary=Vocabulary.from_text("ab"), grow=True)
    assert (text_of(corpus), corpus.vocabulary.labels) == ("añb", ("a", "b", "ñ"))


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


TEN = Corpus.from_text("abcdefghij")


@pytest.mark.parametrize(
    ("length", "train", "val", "expected"),
    [
        (100, 0.95, 0.05, (95, 5, 0)),
        (100, 0.29, 0.01, (29, 1, 70)),
        (101, 0.95, 0.05, (95, 6, 0)),
        (1_115_394, 0.9, 0.1, (1_003_854, 111_540, 0)),
        (10, 0.7, 0.2, (7, 2, 1)),
        (10, 1.0, 0.0, (10, 0, 0)),
        (10, 1 / 3, 2 / 3, (3, 7, 0)),
        (1, 0.5, 0.25, (0, 0, 1)),
        (0, 0.5, 0.5, (0, 0, 0)),
    ],
)
def test_split_sizes(length: int, train: float, val: float, expected: tuple[int, int, int]) -> None:
    bounds = split_bounds(length, train, val)
    assert tuple(end - start for start, end in (bounds["train"], bounds["val"], bounds["test"])) == expected


@given(st.integers(0, 10**12), st.integers(0, 1000), st.data())
def test_thousandths_are_split_exactly(length: int, train: int, data: st.DataObject) -> None:
    val = data.draw(st.integers(0, 1000 - train))
    bounds = split_bounds(length, train / 1000, val / 1000)
    assert bounds["train"] == (0, length * train // 1000)
    assert bounds["val"] == (bounds["train"][1], length * (train + val) // 1000)
    assert bounds["test"] == (bounds["val"][1], length)


def test_fractions_above_one_are_named() -> None:
    with pytest.raises(DataError, match=r"train_frac 0\.95 and val_frac 0\.1 add up to 1\.05; lower one"):
        split_bounds(100, 0.95, 0.1)
    with pytest.raises(DataError, match=r"val_frac -0\.1: must be between 0 and 1"):
        split_bounds(100, 0.95, -0.1)
    with pytest.raises(DataError, match="train_frac nan"):
        split_bounds(100, float("nan"), 0)


def test_splits_stand_one_after_the_other_with_context() -> None:
    splits = TEN.splits(0.5, 0.3)
    assert {name: TEN.vocabulary.decode(split.ids) for name, split in splits.items()} == {
        "train": "abcde",
        "val": "fgh",
        "test": "ij",
    }
    assert [split.context for split in splits.values()] == [None, 4, 7]
    assert [split.predicted for split in splits.values()] == [4, 3, 2]
    assert sum(split.predicted for split in splits.values()) == len(TEN) - 1
    assert np.shares_memory(splits["val"].ids, TEN.ids)


def test_the_whole_is_a_split_too() -> None:
    whole = TEN.split("all")
    assert (whole.name, len(whole), whole.context, whole.predicted) == ("all", 10, None, 9)


def test_an_empty_split_predicts_nothing() -> None:
    test = TEN.split("test", 0.9, 0.1)
    assert (len(test), test.predicted) == (0, 0)
    assert TEN.split("train", 0, 1).predicted == 0


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(DataError, match="split 'validation': must be one of train, val, test, all"):
        TEN.split("validation")
