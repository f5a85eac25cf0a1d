"""The command line: verbs parse and print, views draw what other rooms return.

May import every room; no room imports it.
"""
