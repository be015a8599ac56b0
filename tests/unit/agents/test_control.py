"""Whether an agent takes work."""

from __future__ import annotations

import pytest

from agent_mesh.agents.control import AgentControl, AgentControls
from agent_mesh.platform.clock import moment
from agent_mesh.platform.firestore import FirestoreClient, Missing
from tests.conftest import HandClock

STALENESS_S = 2.0


@pytest.fixture
def controls(database: FirestoreClient, clock: HandClock) -> AgentControls:
    return AgentControls(database, clock, STALENESS_S)


@pytest.fixture
def elsewhere(database: FirestoreClient, clock: HandClock) -> AgentControls:
    """The same switches, as another process sets them."""
    return AgentControls(database, clock, STALENESS_S)


def test_an_agent_that_nobody_paused_takes_work(controls: AgentControls) -> None:
    assert controls.state("light") == AgentControl()


def test_a_paused_agent_says_since_when_and_by_whom(
    controls: AgentControls, elsewhere: AgentControls, clock: HandClock
) -> None:
    paused = controls.pause("light", "ann")
    assert paused == AgentControl(paused=True, since=moment(clock.now()), by="ann")
    assert controls.state("light") == elsewhere.state("light") == paused
    assert not controls.state("other").paused


def test_a_resumed_agent_is_releasing_until_everything_was_sent_on(
    controls: AgentControls, elsewhere: AgentControls
) -> None:
    controls.pause("light", "ann")
    assert controls.releasing() == []
    resumed = controls.resume("light", "bob")
    assert (resumed.paused, resumed.releasing, resumed.by) == (False, True, "bob")
    assert elsewhere.releasing() == ["light"]
    controls.released("light")
    assert elsewhere.releasing() == []
    assert not controls.state("light").releasing


def test_pausing_again_ends_the_release(controls: AgentControls) -> None:
    controls.pause("light", "ann")
    controls.resume("light", "ann")
    controls.pause("light", "ann")
    assert controls.releasing() == []


def test_a_pause_elsewhere_is_seen_as_late_as_was_said_and_no_later(
    controls: AgentControls, elsewhere: AgentControls, clock: HandClock
) -> None:
    assert not controls.state("light").paused
    elsewhere.pause("light", "ann")
    clock.advance(STALENESS_S - 0.01)
    assert not controls.state("light").paused
    clock.advance(0.01)
    assert controls.state("light").paused


def test_a_resume_elsewhere_is_seen_at_once(controls: AgentControls, elsewhere: AgentControls) -> None:
    """What `resume` sends on must not be turned away by what was so before."""
    controls.pause("light", "ann")
    assert controls.state("light").paused
    elsewhere.resume("light", "ann")
    assert not controls.state("light").paused


def test_whoever_sets_a_switch_sees_it_at_once(controls: AgentControls) -> None:
    assert not controls.state("light").paused
    controls.pause("light", "ann")
    assert controls.state("light").paused
    controls.resume("light", "ann")
    assert not controls.state("light").paused


def test_a_clock_that_was_set_back_does_not_keep_an_answer(
    controls: AgentControls, elsewhere: AgentControls, clock: HandClock
) -> None:
    controls.state("light")
    elsewhere.pause("light", "ann")
    clock.advance(-60)
    assert controls.state("light").paused


def test_an_agent_without_a_switch_cannot_have_been_released(controls: AgentControls) -> None:
    with pytest.raises(Missing):
        controls.released("light")
