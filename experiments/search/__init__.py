"""What decides which replicates go on: Optuna's search, successive halving, and seeds until claims are decided.

May import launch and below.
"""
