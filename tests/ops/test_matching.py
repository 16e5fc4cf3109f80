"""Matches: the fast paths against the reference, and the state."""

from __future__ import annotations

import pytest
import torch

from char_rnn.ops import find_matches, find_matches_reference, matching


def test_a_match_is_what_followed_the_last_occurrence() -> None:
    x = torch.tensor([[0, 1, 2, 0, 1, 3, 0, 1, 4]])
    found, history = find_matches(x, torch.zeros(1, 9), [1, 2, 3])
    assert found.tolist() == [
        [[0, 0, 0, 2, 3, 0, 2, 4, 0]],
        [[0, 0, 0, 0, 3, 0, 0, 4, 0]],
        [[0] * 9],
    ]
    assert history.tolist() == [[1, 2, 3, 1, 2, 4, 1, 2, 5]]


@pytest.mark.parametrize("way", ["kernels", "sorting"])
@pytest.mark.parametrize("symbols", [2, 5, 300])
@pytest.mark.parametrize(("time", "window"), [(1, 8), (9, 5), (40, 16), (3, 600)])
def test_both_ways_find_what_the_reference_finds(
    monkeypatch: pytest.MonkeyPatch, way: str, symbols: int, time: int, window: int
) -> None:
    if way == "sorting":
        monkeypatch.setattr(matching, "load", lambda: None)
    elif matching.load() is None:
        pytest.skip("the kernels are not built, or do not run here")
    generator = torch.Generator().manual_seed(symbols * time)
    x = torch.randint(symbols, (3, time), generator=generator)
    history = torch.randint(1, symbols + 1, (3, window), generator=generator).float()
    history[1, : window // 2] = 0
    history[2] = 0
    lengths = [2, 3, min(5, window), 1]
    found, after = find_matches(x, history, lengths)
    expected, expected_after = find_matches_reference(x, history, lengths)
    assert torch.equal(found, expected)
    assert torch.equal(after, expected_after)


def test_a_text_in_parts_has_the_same_matches() -> None:
    x = torch.randint(3, (2, 50), generator=torch.Generator().manual_seed(1))
    whole, _ = find_matches(x, torch.zeros(2, 12), [1, 4])
    history, parts = torch.zeros(2, 12), []
    for part in x.split([1, 20, 3, 26], 1):
        found, history = find_matches(part, history, [1, 4])
        parts.append(found)
    assert torch.equal(torch.cat(parts, 2), whole)


def test_a_long_match_depends_on_every_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an even base, symbols would drop out of the codes modulo 2^64."""
    monkeypatch.setattr(matching, "load", lambda: None)
    x = torch.tensor([[5, *[255] * 40, 7, 6, *[255] * 40, 8]])
    found, _ = find_matches(x, torch.zeros(1, 100), [40, 41])
    assert found[0, 0, 82] == 8
    assert found[1, 0, 82] == 0
