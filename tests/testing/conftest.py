from __future__ import annotations

collect_ignore = ["project"]
"""A user's project, which has a pytest run of its own."""
