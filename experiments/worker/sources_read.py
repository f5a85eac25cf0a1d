"""Importing this reads the parts, and looks up the digests of parts and loops that each training notes: forks need not.

What was read holds as long as the sources are the same (`registry.parts.sources`, `experiments.record.code_digests`).
"""

from experiments.record.code_digests import of_this_repository
from registry.parts.catalogue import catalogue

catalogue()
of_this_repository()
