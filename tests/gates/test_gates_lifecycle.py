"""Any sequence of candidates, promotions, rollbacks and crashes, beside a model of what should be in use."""

import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.errors import BadInput
from gates.keys import trust_folder
from gates.log import read_log
from gates.promote import Result, promote, rollback
from gates.state import read_state
from gates.workspace import Workspace
from models.registry import load_registry
from models.statement import verify_bundle
from tests.gates.checkout import NOW, PASSING, changed, judged, make_workspace
from tests.gates.test_promote import Crash, crashing, patch_rename


class Lifecycle(RuleBasedStateMachine):
    """The model: which bundle has which tag, which tags were in use in order, which were rolled back."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.work = make_workspace(Path(self.folder.name) / "checkout")
        self.tags: dict[str, str] = {}
        self.used: list[str] = []
        self.rolled_back: set[str] = set()
        self.candidate = ("", False)
        self.settled = True

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(name=st.sampled_from("abcd"), good=st.booleans())
    def new_candidate(self, name: str, good: bool) -> None:
        identity = judged(self.work, name.encode(), PASSING if good else changed("max_drawdown", value=0.5))
        self.candidate = (identity, good)

    def promotes(self) -> str | None:
        """The tag that a promotion would put into use now; None: nothing would change."""
        identity, good = self.candidate
        tag = self.tags.get(identity)
        if not good or tag in self.rolled_back or (tag is not None and tag == self.used[-1]):
            return None
        return tag or f"v1.{len(self.tags)}.0"

    def did_promote(self, tag: str) -> None:
        self.tags[self.candidate[0]] = tag
        self.used.append(tag)

    @precondition(lambda self: self.candidate[0])
    @rule()
    def promotion(self) -> None:
        expected = self.promotes()
        result = promote(self.work, NOW)
        assert result.changed == (expected is not None)
        if expected:
            self.did_promote(expected)
        self.settled = True

    def goes_back_to(self) -> str | None:
        return next((tag for tag in reversed(self.used) if tag not in {*self.rolled_back, self.used[-1]}), None)

    def did_roll_back(self, tag: str) -> None:
        self.rolled_back = (self.rolled_back | {self.used[-1]}) - {tag}
        self.used.append(tag)

    @precondition(lambda self: self.used)
    @rule()
    def rollback_by_one(self) -> None:
        expected = self.goes_back_to()
        if expected is None:
            with pytest.raises(BadInput):
                rollback(self.work, None, "r", NOW)
        else:
            assert rollback(self.work, None, "r", NOW).active == expected
            self.did_roll_back(expected)
        self.settled = True

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def rollback_to_a_tag(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(sorted(self.tags.values())))
        result = rollback(self.work, tag, "r", NOW)
        assert result.changed == (tag != self.used[-1])
        if result.changed:
            self.did_roll_back(tag)
        self.settled = True

    @precondition(lambda self: self.candidate[0])
    @rule(at=st.integers(1, 9), before=st.booleans(), back=st.booleans())
    def crash(self, at: int, before: bool, back: bool) -> None:
        """A command dies at some write: it took effect exactly if its decision reached the log."""
        expected = (self.goes_back_to() if self.used else None) if back else self.promotes()
        decided = len([item for item in read_log(self.work.log) if item.action != "reject"])
        with pytest.MonkeyPatch.context() as patch:
            patch_rename(patch, crashing(at, before)[0])
            with suppress(Crash, BadInput):
                rollback(self.work, None, "r", NOW) if back else promote(self.work, NOW)
        after = [item for item in read_log(self.work.log) if item.action != "reject"]
        assert len(after) - decided in ((0, 1) if expected else (0,))
        if len(after) > decided and expected:
            self.did_roll_back(expected) if back else self.did_promote(expected)
        self.settled = False

    @invariant()
    def what_is_in_use_is_what_the_model_says(self) -> None:
        state = read_state(self.work)
        assert state.registry.active == (self.used[-1] if self.used else None)
        assert {entry.bundle_id: tag for tag, entry in state.registry.models.items()} == self.tags
        assert {tag for tag, entry in state.registry.models.items() if entry.rolled_back_at} == self.rolled_back
        assert [tag for tag, entry in state.registry.models.items() if entry.approved_default] == self.used[-1:]
        if self.work.pointer.exists():
            loaded = verify_bundle(self.work.pointer, trust_folder())[0].id
            assert loaded in self.tags  # between commands, even after a crash, a runner can load something promoted
        if self.settled and self.used:
            assert self.tags[loaded] == self.used[-1]
            assert load_registry(self.work.registry) == state.registry


Lifecycle.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestLifecycle = Lifecycle.TestCase


def test_two_promotions_at_once_make_one_decision(work: Workspace) -> None:
    judged(work, b"a")
    start, results = threading.Barrier(2), list[Result]()

    def act() -> None:
        start.wait()
        results.append(promote(work, NOW))

    threads = [threading.Thread(target=act) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.changed for result in results) == [False, True]
    assert len(read_log(work.log)) == 1
