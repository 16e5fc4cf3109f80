"""What counts as a leak: growth that goes on, not a pool that is filled once nor a heap that breathes."""

from __future__ import annotations

import pytest

from char_rnn.doctor.memory import _growth

MIB = 1 << 20


@pytest.mark.parametrize(
    ("floors", "growth"),
    [
        ([5, 5, 5, 5, 5], 0),
        ([5, 25, 25, 25, 25], 0),  # a pool, filled once
        ([5, 13, 4, 12, 5], 0),  # a heap that is trimmed now and then
        ([5, 6, 7, 8, 9], 1),
        ([5, 5, 5, 7, 9], 2),  # a leak that first filled what was free
        ([9, 8, 7, 6, 5], -2),
    ],
)
def test_growth_is_what_goes_on(floors: list[int], growth: float) -> None:
    looks = [look for floor in floors for look in (floor * MIB + 3000, floor * MIB)]
    assert _growth(looks, 2) == growth * MIB / 2
