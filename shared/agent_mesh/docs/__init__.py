"""The generated part of the documentation: `python -m agent_mesh.docs` writes it, `--check` compares it.

Works in a checkout only: it reads the package's source and writes to the `docs/` folder beside it.
"""
