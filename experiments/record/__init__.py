"""Writing run folders, and telling states: attempts, submissions, leases, Slurm's queue, frozen code, progress.

The lowest room of experiments.
"""
