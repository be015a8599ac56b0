"""A local OpenID Connect issuer that stands in for accounts.google.com."""

from __future__ import annotations
