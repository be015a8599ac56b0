"""The mesh at work on real documents and real decisions.

`python -m examples.demo [FILES...]`; without files it takes every Markdown file of this repository.

It starts the local stack, sends every document to agent `digest` over Pub/Sub and to agent `light` over HTTP, prints
what came back, what it cost and how long it took. It proves that a duplicate does not run twice and that a task that is
too dear, one that is too late and one of a stranger are refused. Then it publishes access intents, shows what policy
decides about them as it happens, and verifies that the ledger has it all. At a terminal the mesh stays until Enter, so
that one can look at the dashboard.
"""
