from pathlib import Path

from char_rnn.bench.texts import write_text


def test_a_text_has_the_size_asked_for_and_is_always_the_same(tmp_path: Path) -> None:
    written = write_text(tmp_path / "a", 300_000)
    write_text(tmp_path / "b", 300_000)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_size == written
    assert 300_000 <= written < 1_000_000


def test_mixed_words_are_of_more_alphabets(tmp_path: Path) -> None:
    write_text(tmp_path / "a", 300_000, "mixed")
    text = (tmp_path / "a").read_text(encoding="utf-8")
    beyond = sum(not word.isascii() for word in text.split()) / len(text.split())
    assert 0.08 < beyond < 0.12
