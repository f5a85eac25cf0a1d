"""An experiment file with its runs folder: arms, replicates, checks, states, costs. Writes nothing.

May import scores and below, not worker.
"""
