"""Bringing replicates to run: prepare their data, and send them to this process, a local pool, or Slurm.

May import plan, worker and below.
"""
