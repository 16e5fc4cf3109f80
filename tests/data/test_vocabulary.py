import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from char_rnn.data.corpus import prepare_corpus
from char_rnn.data.vocabulary import SymbolSet, UnknownCharacterError, Vocabulary

AWKWARD = "e\u0301 👩‍👩‍👧 日本\x00\r\n\u2028ÿĀ\ufeff"


@given(st.text(min_size=1))
def test_characters_round_trip(text: str) -> None:
    vocabulary = Vocabulary.from_text(text)
    indices = vocabulary.encode(text)
    assert vocabulary.decode(indices) == text
    assert vocabulary.decode_bytes(indices) == text.encode()
    assert vocabulary.symbols == tuple(sorted({ord(character) for character in text}))


@given(st.binary(min_size=1))
def test_bytes_round_trip(data: bytes) -> None:
    vocabulary = Vocabulary.from_text(data, "bytes")
    indices = vocabulary.encode(data)
    assert vocabulary.decode_bytes(indices) == data
    assert vocabulary.decode(indices) == data.decode("utf-8", "replace")
    assert vocabulary.symbols == tuple(sorted(set(data)))


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_awkward_text_survives(kind: Any) -> None:
    vocabulary = Vocabulary.from_text(AWKWARD, kind)
    assert vocabulary.decode(vocabulary.encode(AWKWARD)) == AWKWARD


def test_indices_are_places_in_sorted_order() -> None:
    vocabulary = Vocabulary.from_text("hello")
    assert vocabulary.encode("hello").tolist() == [1, 0, 2, 2, 3]
    assert vocabulary.char_to_idx == {"e": 0, "h": 1, "l": 2, "o": 3}
    assert vocabulary.idx_to_char == {0: "e", 1: "h", 2: "l", 3: "o"}
    assert (vocabulary.size, len(vocabulary)) == (4, 4)
    assert vocabulary.encode(b"hello").tolist() == [1, 0, 2, 2, 3]


@given(st.data())
def test_symbols_keep_the_order_they_are_given_in(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["characters", "bytes"]))
    text = data.draw(st.text(min_size=1))
    known = Vocabulary.from_text(text, kind)
    order = data.draw(st.permutations(range(known.size)))
    vocabulary = Vocabulary(kind, [known.symbols[place] for place in order])
    indices = vocabulary.encode(text)
    assert [order[index] for index in indices] == known.encode(text).tolist()
    assert vocabulary.decode(indices) == text
    assert Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict()))) == vocabulary
    assert (vocabulary == known) == (order == list(range(known.size)))


def test_the_order_of_first_appearance() -> None:
    vocabulary = Vocabulary("characters", map(ord, "helo"))
    assert vocabulary.encode("hello").tolist() == [0, 1, 2, 2, 3]
    assert vocabulary.char_to_idx == {"h": 0, "e": 1, "l": 2, "o": 3}
    assert vocabulary.decode([3, 0]) == "oh"
    with pytest.raises(UnknownCharacterError, match="position 1"):
        vocabulary.encode("ha")


def test_a_text_is_prepared_anew_for_another_order(tmp_path: Path) -> None:
    text = tmp_path / "hello.txt"
    text.write_text("hello")
    for symbols, indices in (("ehlo", [1, 0, 2, 2, 3]), ("helo", [0, 1, 2, 2, 3]), ("oleh", [3, 2, 1, 1, 0])):
        vocabulary = Vocabulary("characters", map(ord, symbols))
        for _ in range(2):  # prepared, and found again
            corpus = prepare_corpus(text, vocabulary=vocabulary, cache_dir=tmp_path / "cache")
            assert corpus.ids.tolist() == indices
            assert corpus.vocabulary == vocabulary
    assert prepare_corpus(text, cache_dir=tmp_path / "cache").vocabulary.symbols == tuple(map(ord, "ehlo"))


def test_all_256_bytes_in_another_order() -> None:
    vocabulary = Vocabulary("bytes", reversed(range(256)))
    assert vocabulary.encode(b"\x00\xff\x01").tolist() == [255, 0, 254]
    assert vocabulary.decode_bytes([255, 0, 254]) == b"\x00\xff\x01"


def test_bytes_are_latin_1_characters_in_the_mappings() -> None:
    vocabulary = Vocabulary.from_text("é", "bytes")
    assert vocabulary.char_to_idx == {"©": 0, "Ã": 1}
    assert vocabulary.encode("é").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(1, "uint8"), (255, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")],
)
def test_the_smallest_type_at_each_border(size: int, dtype: str) -> None:
    vocabulary = Vocabulary("characters", range(0xE000, 0xE000 + size))
    text = chr(0xE000) + chr(0xE000 + size - 1)
    assert vocabulary.dtype == np.dtype(dtype)
    indices = vocabulary.encode(text)
    assert indices.dtype == np.dtype(dtype)
    assert indices.tolist() == [0, size - 1]
    assert indices.flags.writeable
    with pytest.raises(UnknownCharacterError):
        vocabulary.encode("a")


def test_all_256_low_characters_are_told_from_higher_ones() -> None:
    vocabulary = Vocabulary("characters", range(256))
    assert vocabulary.encode("\xff\x00").tolist() == [255, 0]
    with pytest.raises(UnknownCharacterError, match=r"'Ā' \(U\+0100\) at position 1"):
        vocabulary.encode("aĀ")


@given(st.text(min_size=1), st.text())
def test_a_vocabulary_is_extended_at_its_end(old: str, new: str) -> None:
    vocabulary = Vocabulary("characters", dict.fromkeys(map(ord, old)))
    extended = vocabulary.extended(map(ord, new))
    assert extended.symbols[: vocabulary.size] == vocabulary.symbols
    assert list(extended.symbols[vocabulary.size :]) == sorted(set(map(ord, new)) - set(map(ord, old)))


def test_every_byte_is_known_to_the_full_byte_vocabulary() -> None:
    vocabulary = Vocabulary("bytes", range(256))
    assert vocabulary.encode(bytes(range(256))).tolist() == list(range(256))


def test_an_unknown_character_is_named_with_its_place() -> None:
    with pytest.raises(UnknownCharacterError) as caught:
        Vocabulary.from_text("abc").encode("abécé")
    assert (caught.value.character, caught.value.position) == ("é", 2)
    assert str(caught.value).startswith("unknown character 'é' (U+00E9) at position 2: ")
    for error in (caught.value, caught.value.advising("write it without an accent")):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(error).endswith(" (U+00E9) at position 2: it is not in the vocabulary; write it without an accent")


def test_an_unknown_byte_is_named_with_its_place() -> None:
    with pytest.raises(UnknownCharacterError, match="unknown byte 0xC3 at position 3"):
        Vocabulary.from_text(b"abc", "bytes").encode("abcé")


def test_empty_text_is_no_indices() -> None:
    vocabulary = Vocabulary.from_text("a")
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.decode([]) == ""


def test_undecodable_command_line_bytes_reach_a_byte_vocabulary() -> None:
    vocabulary = Vocabulary("bytes", range(256))
    assert vocabulary.encode(b"\xff".decode("utf-8", "surrogateescape")).tolist() == [255]
    with pytest.raises(UnknownCharacterError, match=r"U\+D800"):
        vocabulary.encode("a\ud800")
    with pytest.raises(UnknownCharacterError, match=r"U\+DCFF"):
        Vocabulary.from_text("a").encode("a\udcff")


def test_bytes_that_are_not_utf_8_are_refused_by_characters() -> None:
    with pytest.raises(ValueError, match="byte 1 of the text is not UTF-8"):
        Vocabulary.from_text("a").encode(b"a\xff")


@pytest.mark.parametrize("indices", [[4], [-1], [0, 1 << 40], np.array([4], dtype=np.uint8)])
def test_indices_out_of_range_are_refused(indices: Any) -> None:
    with pytest.raises(ValueError, match="must be 0 to 3"):
        Vocabulary.from_text("hello").decode(indices)


@pytest.mark.parametrize("indices", [[0.5], np.zeros((1, 1), dtype=np.int64), ["a"]])
def test_indices_of_another_kind_are_refused(indices: Any) -> None:
    with pytest.raises(ValueError, match="must be a sequence of integers"):
        Vocabulary.from_text("hello").decode(indices)


@given(st.text(min_size=1))
def test_descriptions_survive_json(text: str) -> None:
    vocabulary = Vocabulary.from_text(text)
    copy = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert copy == vocabulary
    assert hash(copy) == hash(vocabulary)
    unused = next(chr(code) for code in range(0x1000) if chr(code) not in text)
    assert copy != Vocabulary.from_text(text + unused)
    assert copy != Vocabulary.from_text(text, "bytes")


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (None, "must be a mapping"),
        ([1], "must be a mapping"),
        ({"kind": "bytes"}, "must be a mapping"),
        ({"kind": "bytes", "symbols": [1], "code": 1}, "must be a mapping"),
        ({"kind": "words", "symbols": [1]}, "vocabulary kind 'words'"),
        ({"kind": ["bytes"], "symbols": [1]}, "vocabulary kind"),
        ({"kind": "bytes", "symbols": "ab"}, "must be a list"),
        ({"kind": "bytes", "symbols": []}, "at least one"),
        ({"kind": "bytes", "symbols": [256]}, "must be a byte, 0 to 255, not 256"),
        ({"kind": "bytes", "symbols": [-1]}, "must be a byte"),
        ({"kind": "bytes", "symbols": [True]}, "must be a byte"),
        ({"kind": "characters", "symbols": [1.0]}, "must be a code point"),
        ({"kind": "characters", "symbols": [0x110000]}, "must be a code point"),
        ({"kind": "characters", "symbols": [0xD800]}, "not a surrogate"),
        ({"kind": "characters", "symbols": ["x" * 10_000]}, "must be a code point"),
        ({"kind": "characters", "symbols": [1, 1]}, "symbol 1: 1 a second time; symbols must be distinct"),
        ({"kind": "bytes", "symbols": [7, 0, 255, 7]}, "symbol 3: 7 a second time"),
    ],
)
def test_hostile_descriptions_are_refused_in_one_short_line(description: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Vocabulary.from_dict(description)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_empty_text_has_no_vocabulary() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Vocabulary.from_text("")


def test_it_says_what_it_is() -> None:
    assert repr(Vocabulary.from_text("hello")) == "Vocabulary('characters', 4 symbols)"
    assert Vocabulary.from_text("a") != "a"


@given(st.text())
def test_a_byte_decoder_never_shows_half_a_character(text: str) -> None:
    vocabulary = Vocabulary("bytes", range(256))
    decoder = vocabulary.decoder()
    pieces = [decoder.decode([index]) for index in vocabulary.encode(text)]
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


def test_an_unfinished_character_shows_when_another_follows() -> None:
    vocabulary = Vocabulary("bytes", range(256))
    decoder = vocabulary.decoder()
    assert decoder.decode(list("日".encode())[:2]) == ""
    assert decoder.decode([0x61]) == "\ufffda"
    assert decoder.decode([0xFF, 0x62]) == "\ufffdb"


def test_a_character_decoder_is_plain() -> None:
    decoder = Vocabulary.from_text("hello").decoder()
    assert decoder.decode([1, 0]) + decoder.decode(np.array([2, 2, 3])) == "hello"


@given(st.lists(st.text(alphabet=st.characters(max_codepoint=0x17F, exclude_categories=["Cs"]))))
def test_symbols_collected_in_pieces_are_those_of_the_whole(pieces: list[str]) -> None:
    seen = SymbolSet("characters")
    for piece in pieces:
        seen.update(piece)
    assert seen.symbols() == sorted({ord(character) for piece in pieces for character in piece})


def test_a_rare_symbol_far_behind_is_seen() -> None:
    seen = SymbolSet("bytes")
    seen.update(b"a" * 100_000 + b"z")
    assert seen.symbols() == [97, 122]


def test_labels_escape_bytes_that_are_not_characters() -> None:
    assert Vocabulary("bytes", [0x41, 0x7F, 0x80, 0xC3]).labels == ("A", "\x7f", "\\x80", "\\xC3")
    assert Vocabulary("characters", [0x41, 0xC3, 0x10FFFF]).labels == ("A", "Ã", "\U0010ffff")
