"""Names of the service accounts: one per role, subscription and schedule, and the developer's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Reference = Annotated[str, Field(pattern=r"^(developer|callers|viewers|(role|subscription|schedule):.+)$")]
"""Who may call: ``developer``, ``role:R``, ``subscription:S`` or ``schedule:S``.

``callers`` and ``viewers`` are none here.
"""


@dataclass(frozen=True, slots=True)
class Identities:
    """The service accounts of one project."""

    project: str

    @property
    def developer(self) -> str:
        """The account a person on this machine acts as."""
        return self._email("developer")

    def role(self, name: str) -> str:
        """The account a function runs as."""
        return self._email(name.replace("_", "-"))

    def subscription(self, name: str) -> str:
        """The account a subscription pushes as."""
        return self._email(f"push-{name}")

    def schedule(self, name: str) -> str:
        """The account a schedule calls as."""
        return self._email(f"schedule-{name}")

    def resolve(self, reference: str) -> str:
        """The email behind a reference of the roles file."""
        kind, _, name = reference.partition(":")
        naming = {"role": self.role, "subscription": self.subscription, "schedule": self.schedule}
        return naming[kind](name) if name else self.developer

    def _email(self, account: str) -> str:
        return f"{account}@{self.project}.iam.gserviceaccount.com"
