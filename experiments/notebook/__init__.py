"""Doing from Python, in a notebook or a script: what `from experiments import Experiment, open_model` gives.

May import everything below, the command line's progress bars included.
"""
