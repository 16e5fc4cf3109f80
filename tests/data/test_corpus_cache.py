"""The cache of prepared texts: used when it is right, made again when it is not, never silently stale."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from data_helpers import TEXT, age, text_of, write

from char_rnn.data import DataError
from char_rnn.data import cache as cache_module
from char_rnn.data.cache import Cache
from char_rnn.data.corpus import prepare_corpus
from char_rnn.data.datasets import data_root
from char_rnn.data.vocabulary import Vocabulary


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


def flip(ids: Path, bit: int) -> None:
    """Flip a bit of the last byte; the file's time stays."""
    times, data = ids.stat(), ids.read_bytes()
    ids.write_bytes(data[:-1] + bytes([data[-1] ^ bit]))
    os.utime(ids, ns=(times.st_atime_ns, times.st_mtime_ns))


def damage_flip(ids: Path, facts: Path) -> None:
    flip(ids, 1)


def damage_flip_out_of_range(ids: Path, facts: Path) -> None:
    flip(ids, 128)


def damage_facts_other_symbol(ids: Path, facts: Path) -> None:
    found = json.loads(facts.read_text(encoding="utf-8"))
    found["vocabulary"]["symbols"][0] += 1  # a valid description of another text
    facts.write_text(json.dumps(found), encoding="utf-8")


def damage_by_another_key(ids: Path, facts: Path) -> None:
    other = Cache(ids.parent).store("other", Vocabulary.from_text("ab"), iter([np.array([0, 1], dtype=np.uint8)]))
    assert len(other.ids) == 2
    for file in (ids, facts):
        file.with_name(f"other{file.suffix}").replace(file)


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
def test_a_copied_cache_is_used(tmp_path: Path, reads: list[Path]) -> None:
    path = write(tmp_path / "text", TEXT)
    prepare_corpus(path)
    (ids,) = (data_root() / "cache").glob("*.ids")
    age(ids)
    assert text_of(prepare_corpus(path)) == TEXT
    assert len(reads) == 2


@pytest.mark.usefixtures("settled")
def test_a_cache_of_version_1_0_is_prepared_again(tmp_path: Path, reads: list[Path]) -> None:
    path = write(tmp_path / "text", TEXT)
    prepare_corpus(path)
    (ids,) = (data_root() / "cache").glob("*.ids")
    facts = json.loads(ids.with_suffix(".json").read_text(encoding="utf-8"))
    facts |= {"crc32": zlib.crc32(ids.read_bytes()), "written_ns": ids.stat().st_mtime_ns}
    ids.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")
    assert text_of(prepare_corpus(path)) == text_of(prepare_corpus(path)) == TEXT
    assert len(reads) == 4


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
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [f"{blocked}: not writable"]


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
