"""Importing this reads the source of all parts and loops, whose digests each training notes, so that forks need not.

What was read holds for as long as the files are the same (`registry.parts.source_digest`).
"""

from experiments.record.code_digests import read_all

read_all()
