"""The run folder: where a replicate's files lie and what they say, and the two ways to write a file.

May import experiment and below.
"""
