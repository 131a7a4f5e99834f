"""Stops at random, of all kinds, and what goes on from them."""

import pytest

from tests.faults import campaign
from tests.faults.kills import PHASES
from tests.faults.test_faults import assert_survived


def test_a_killed_run_ends_like_one_that_was_not(monkeypatch):
    monkeypatch.setenv(campaign.PHASE, "training")
    assert_survived(campaign.run("kills", 1, seed=1, workers=1))


@pytest.mark.proof
def test_stops_of_all_kinds_in_all_phases(monkeypatch):
    monkeypatch.delenv(campaign.PHASE, raising=False)
    assert_survived(campaign.run("kills", len(PHASES), seed=2))
