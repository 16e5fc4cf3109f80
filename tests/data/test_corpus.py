import gzip
import hashlib
import io
import json
import logging
import multiprocessing
import os
import pickle
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from char_rnn.data import cache as cache_module
from char_rnn.data import preparation, reading
from char_rnn.data.corpus import Corpus, prepare_corpus
from char_rnn.data.datasets import data_root
from char_rnn.data.errors import DataError
from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary

TEXT = "Zwölf Boxkämpfer\r\njagen Viktor\x00 quer 日本 👩‍👧 e\u0301\n"


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.ids)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def age(path: Path) -> None:
    """Let a file seem to have been written long ago (its inode still changes now)."""
    os.utime(path, ns=(10**18, 10**18))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the times of files that were written just now."""
    monkeypatch.setattr(preparation, "is_settled", lambda newest, started: True)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are opened for reading text."""
    opened: list[Path] = []
    original = reading._opened
    monkeypatch.setattr(reading, "_opened", lambda path: (opened.append(path), original(path))[1])
    return opened


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


def test_folders_are_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "poems"
    for name, content in {"b.txt": "2", "a/x.md": "0", "a.txt": "1", ".git/config": "no", ".hidden": "no"}.items():
        write(folder / name, content)
    write(folder / "picture.png", b"\x89PNG\x00\x00")
    write(folder / "c.txt.gz", gzip.compress(b"3"))
    corpus = prepare_corpus(folder)
    assert (corpus.name, text_of(corpus)) == ("poems", "1023")
    assert corpus.sha256 == hashlib.sha256(b"1023").hexdigest()


def test_the_input_file_of_a_folder_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "play" / "input.txt", "the play")
    write(tmp_path / "play" / "notes.txt", "other")
    for source in (tmp_path / "play", tmp_path / "play" / "input.txt"):
        corpus = prepare_corpus(source)
        assert (corpus.name, text_of(corpus)) == ("play", "the play")


def test_nul_bytes_are_no_hindrance_in_utf_16(tmp_path: Path) -> None:
    write(tmp_path / "wide" / "a.txt", "hi".encode("utf-16"))
    write(tmp_path / "wide" / "b.txt", "yo".encode("utf-16"))
    assert text_of(prepare_corpus(tmp_path / "wide", encoding="UTF_16")) == "hiyo"


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "binary" / "a", b"\x00")
    with pytest.raises(DataError, match="no text files in it"):
        prepare_corpus(tmp_path / "binary")


def test_an_unfinished_character_belongs_to_its_own_file(tmp_path: Path) -> None:
    write(tmp_path / "parts" / "a", b"x\xc3")
    write(tmp_path / "parts" / "b", b"\xa9")
    with pytest.raises(DataError, match=r"a: byte 0xC3 at offset 1 is not utf-8"):
        prepare_corpus(tmp_path / "parts")


def test_compressed_text(tmp_path: Path) -> None:
    path = write(tmp_path / "poem.txt.gz", gzip.compress(TEXT.encode()) + gzip.compress(b"more"))
    corpus = prepare_corpus(path)
    assert (corpus.name, text_of(corpus)) == ("poem", TEXT + "more")


def damaged() -> bytes:
    data = bytearray(gzip.compress(os.urandom(10_000)))
    data[5000] ^= 255
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"abc" * 1000)[:-12], "the compressed data ends early"),
        (b"plain text, wrongly named", "not gzip data"),
        (gzip.compress(b"abc") + b"trailing", "not gzip data"),
        (gzip.compress(b"abc")[:10] + b"\xff" * 40, "the compressed data is damaged"),
    ],
)
def test_bad_compressed_data_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare_corpus(write(tmp_path / "poem.gz", content))


def test_damaged_compressed_data_never_passes(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        prepare_corpus(write(tmp_path / "noise.gz", damaged()), vocabulary="bytes")


def test_a_gzip_bomb_takes_little_memory(tmp_path: Path) -> None:
    size = 64 << 20
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    corpus = prepare_corpus(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(corpus) == size
    assert peak < 16 << 20


def test_a_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = cache_module.shutil.disk_usage(tmp_path)._replace(free=3)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match="4 bytes are needed to prepare it and 3 are free"):
        prepare_corpus(write(tmp_path / "text", "abcd"))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    corpus = prepare_corpus("-")
    assert (corpus.name, text_of(corpus)) == ("stdin", TEXT)
    assert sorted(path.suffix for path in (data_root() / "cache").iterdir()) == [".ids", ".json"]


def test_empty_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(DataError, match="standard input: the text is empty"):
        prepare_corpus("-")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(TEXT.encode(),))
    writer.start()
    assert text_of(prepare_corpus(pipe)) == TEXT
    writer.join()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.txt", "nothing.txt: no such file or folder; named data sets: python-stdlib, tinyshakespeare"),
        ("tinyshakespear", "tinyshakespear: no such file or folder; did you mean tinyshakespeare?"),
        ("a\0b", "cannot be read"),
        ("x" * 5000, "cannot be read"),
        ("", "no text files|no such file"),
    ],
)
def test_what_is_not_there_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        prepare_corpus(source)


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="has no devices in the file system")
def test_a_device_is_refused() -> None:
    with pytest.raises(DataError, match="/dev/null: neither a file nor a folder"):
        prepare_corpus("/dev/null")


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE", 10)
    seen: list[tuple[str, int, int | None]] = []
    prepare_corpus(write(tmp_path / "text", "x" * 25), progress=lambda *step: seen.append(step))
    assert seen == [(stage, done, 25) for stage in ("reading", "encoding") for done in (10, 20, 25)]


@pytest.mark.usefixtures("settled")
def test_an_unchanged_file_is_not_read_again(tmp_path: Path, reads: list[Path]) -> None:
    path = write(tmp_path / "text", "hello")
    first = prepare_corpus(path)
    assert reads == [path, path]
    second = prepare_corpus(path)
    assert reads == [path, path]
    assert (text_of(second), second.sha256, second.vocabulary) == ("hello", first.sha256, first.vocabulary)


@pytest.mark.usefixtures("settled")
def test_a_changed_file_is_never_taken_for_the_old_one(tmp_path: Path) -> None:
    path = write(tmp_path / "text", "hello")
    age(path)
    assert text_of(prepare_corpus(path)) == "hello"
    write(path, "olleh")
    age(path)
    assert text_of(prepare_corpus(path)) == "olleh"
    write(tmp_path / "new", "lleho")
    age(tmp_path / "new")
    (tmp_path / "new").replace(path)
    assert text_of(prepare_corpus(path)) == "lleho"


@pytest.mark.usefixtures("settled")
def test_a_new_file_in_a_folder_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "poems" / "a", "1")
    assert text_of(prepare_corpus(tmp_path / "poems")) == "1"
    write(tmp_path / "poems" / "b", "2")
    assert text_of(prepare_corpus(tmp_path / "poems")) == "12"


def test_a_file_written_just_now_is_not_trusted_to_stay(tmp_path: Path, reads: list[Path]) -> None:
    path = write(tmp_path / "text", "hello")
    prepare_corpus(path)
    prepare_corpus(path)
    assert reads == [path, path, path]
    assert not list((data_root() / "cache").glob("source-*"))
    assert cache_module.is_settled(10**18, 10**18 + 3 * 10**9)
    assert not cache_module.is_settled(10**18, 10**18 + 10**9)


def test_equal_content_is_prepared_once(tmp_path: Path, reads: list[Path]) -> None:
    prepare_corpus(write(tmp_path / "a", "hello"))
    prepare_corpus(write(tmp_path / "b", "hello"))
    assert [path.name for path in reads] == ["a", "a", "b"]
    assert len(list((data_root() / "cache").glob("*.ids"))) == 1


def damage_truncate(ids: Path, facts: Path) -> None:
    ids.write_bytes(ids.read_bytes()[:-1])


def damage_lengthen(ids: Path, facts: Path) -> None:
    ids.write_bytes(ids.read_bytes() + b"x")


def damage_flip(ids: Path, facts: Path) -> None:
    ids.write_bytes(b"\xff" + ids.read_bytes()[1:])


def damage_empty(ids: Path, facts: Path) -> None:
    ids.write_bytes(b"")


def damage_remove(ids: Path, facts: Path) -> None:
    ids.unlink()


def damage_facts(ids: Path, facts: Path) -> None:
    facts.write_text("{", encoding="utf-8")


def damage_facts_kind(ids: Path, facts: Path) -> None:
    facts.write_text("[1]", encoding="utf-8")


def damage_facts_symbols(ids: Path, facts: Path) -> None:
    found = json.loads(facts.read_text(encoding="utf-8"))
    facts.write_text(json.dumps({**found, "vocabulary": {"kind": "bytes", "symbols": [-1]}}), encoding="utf-8")


def damage_facts_length(ids: Path, facts: Path) -> None:
    found = json.loads(facts.read_text(encoding="utf-8"))
    facts.write_text(json.dumps({**found, "length": -5}), encoding="utf-8")


def damage_facts_nesting(ids: Path, facts: Path) -> None:
    facts.write_text("[" * 100_000, encoding="utf-8")


DAMAGES = [value for name, value in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: object) -> None:
    path = write(tmp_path / "text", TEXT)
    prepare_corpus(path)
    folder = data_root() / "cache"
    (ids,) = folder.glob("*.ids")
    assert callable(damage)
    damage(ids, ids.with_suffix(".json"))
    assert text_of(prepare_corpus(path)) == TEXT
    assert prepare_corpus(path).ids.tolist() == Vocabulary.from_text(TEXT).encode(TEXT).tolist()


@pytest.mark.usefixtures("settled")
def test_a_copied_cache_is_checked_once_and_used(tmp_path: Path, reads: list[Path]) -> None:
    path = write(tmp_path / "text", TEXT)
    prepare_corpus(path)
    (ids,) = (data_root() / "cache").glob("*.ids")
    age(ids)
    assert text_of(prepare_corpus(path)) == TEXT
    assert json.loads(ids.with_suffix(".json").read_text(encoding="utf-8"))["written_ns"] == 10**18
    assert len(reads) == 2


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("content", ["{", "[]", '{"fingerprint": 1}', '{"fingerprint": 1, "sha256": null}'])
def test_a_damaged_memory_of_a_source_is_ignored(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "text", TEXT)
    prepare_corpus(path)
    (memo,) = (data_root() / "cache").glob("source-*")
    memo.write_text(content, encoding="utf-8")
    assert text_of(prepare_corpus(path)) == TEXT


def test_a_cache_that_cannot_be_written_is_replaced_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = write(tmp_path / "file", "in the way") / "cache"
    with caplog.at_level(logging.WARNING, logger="char_rnn"):
        corpus = prepare_corpus(write(tmp_path / "text", TEXT), cache_dir=blocked)
    assert text_of(corpus) == TEXT
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [f"{blocked}: cannot be written to"]


def test_a_cache_elsewhere_on_demand(tmp_path: Path) -> None:
    prepare_corpus(write(tmp_path / "text", TEXT), cache_dir=tmp_path / "mine")
    assert len(list((tmp_path / "mine").glob("*.ids"))) == 1
    assert not data_root().exists()


def test_what_killed_processes_leave_is_swept(tmp_path: Path) -> None:
    old = write(tmp_path / "cache" / ".tmp-old", "x")
    young = write(tmp_path / "cache" / ".tmp-young", "x")
    age(old)
    prepare_corpus(write(tmp_path / "text", TEXT), cache_dir=tmp_path / "cache")
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("later", ["hellO", "bye"])
def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, later: str) -> None:
    path = write(tmp_path / "text", "hello")
    with pytest.raises(DataError, match="changed while it was being read"):
        prepare_corpus(path, progress=lambda stage, done, total: write(path, later) and None)
    assert not list((data_root() / "cache").iterdir())
    assert text_of(prepare_corpus(path)) == later


def prepare_in_a_process(path: Path, folder: Path, barrier: object, results: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    results.put(text_of(prepare_corpus(path, cache_dir=folder)))  # type: ignore[attr-defined]


def test_two_processes_at_once_do_no_harm(tmp_path: Path) -> None:
    text = TEXT * 20_000
    path = write(tmp_path / "text", text)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    arguments = (path, tmp_path / "cache", barrier, results)
    processes = [context.Process(target=prepare_in_a_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [text, text]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    left = [file for file in (tmp_path / "cache").iterdir() if "source" not in file.name]
    assert sorted(file.suffix for file in left) == [".ids", ".json"]


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
