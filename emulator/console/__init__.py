"""A page for the person at this machine: what is stored, published, counted and switched in the local cloud.

It runs inside the stack's own process and reads through the services' own protocols, so that it works with any cloud.
"""

from __future__ import annotations
