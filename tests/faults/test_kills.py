"""Stops at random, of all kinds, and what goes on from them."""

import pytest

from tests.faults import campaign
from tests.faults.kills import PHASES


@pytest.mark.proof
def test_stops_of_all_kinds_in_all_phases(monkeypatch):
    monkeypatch.delenv(campaign.PHASE, raising=False)
    result = campaign.run("kills", len(PHASES), seed=2)
    assert not result.faults, "\n".join(result.lines())
