"""What is deployed: a function of the decision log.

The log is written first; the registry and the pointer ``models/promoted`` follow from it. So a crash between the
writes leaves them at most one decision behind, and the next command finishes what it finds. A registry that follows
from neither the log nor the log without its last decision was altered, or the log was cut: Refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from core.errors import Refused
from gates.log import Decision, read_log
from gates.workspace import Workspace
from models.atomic import point, write_atomic
from models.registry import Entry, Registry, registry_bytes


@dataclass(frozen=True, slots=True)
class State:
    """The verified log and the registry that follows from it."""

    decisions: tuple[Decision, ...]
    registry: Registry

    @property
    def active(self) -> Entry | None:
        """The entry in use."""
        return self.registry.models[self.registry.active] if self.registry.active else None

    def previous_tag(self) -> str | None:
        """The last version in use before the active one that was not itself rolled back."""
        for decision in reversed(self.decisions):
            tag = decision.tag
            if tag and tag != self.registry.active and self.registry.models[tag].rolled_back_at is None:
                return tag
        return None


def read_state(work: Workspace) -> State:
    """Verify log and registry. Raises Refused naming the line or the file that was altered."""
    decisions = read_log(work.log)
    state = State(decisions, project(decisions))
    found = work.registry.read_bytes() if work.registry.is_file() else registry_bytes(Registry())
    if found not in (registry_bytes(state.registry), registry_bytes(project(decisions[:-1]))):
        raise Refused(f"{work.registry}: does not follow from {work.log}: one was altered; restore both with git")
    return state


def finish(work: Workspace, state: State) -> None:
    """Bring registry and pointer up to the log. A bundle that is not on this machine cannot be pointed to."""
    data = registry_bytes(state.registry)
    if state.decisions and not (work.registry.is_file() and work.registry.read_bytes() == data):
        write_atomic(work.registry, data)
    active = state.active
    if active and work.stored(active.bundle_id).is_dir() and not points_to(work, active):
        point(work.pointer, active.path)


def points_to(work: Workspace, entry: Entry) -> bool:
    """Whether ``models/promoted`` leads to ``entry``'s bundle."""
    return work.pointer.is_symlink() and str(work.pointer.readlink()) == entry.path


def project(decisions: Sequence[Decision]) -> Registry:
    """The registry after ``decisions``."""
    models: dict[str, Entry] = {}
    active: str | None = None
    for decision in decisions:
        if decision.tag is None:
            continue  # a rejection: the previous model stays
        if decision.action == "promote" and decision.entry is not None:
            models[decision.tag] = decision.entry
        elif active is not None:
            models[active] = msgspec.structs.replace(
                models[active], rolled_back_at=decision.at, rollback_reason=decision.reason
            )
        models[decision.tag] = msgspec.structs.replace(models[decision.tag], rolled_back_at=None, rollback_reason=None)
        active = decision.tag
    return Registry(
        active=active,
        models={tag: msgspec.structs.replace(entry, approved_default=tag == active) for tag, entry in models.items()},
    )
