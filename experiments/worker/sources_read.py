"""Importing this looks up the digests of all parts and loops, which each training notes, so that forks need not.

What was looked up holds for as long as the sources are the same (`experiments.record.code_digests`).
"""

from experiments.record.code_digests import of_this_repository

of_this_repository()
