"""The command line: verbs parse and print, views draw what other rooms return.

May import every room; no room imports it.
"""

from registry.runs.machine import look_rarely_for_garbage

look_rarely_for_garbage()  # before anything large is imported
