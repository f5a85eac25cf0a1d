"""What `analysis.load` gives a notebook, from run folders or MLflow, and archives of it.

May import figures and below.
"""
