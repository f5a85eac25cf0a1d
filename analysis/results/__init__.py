"""Plain files -> typed frames: replicates, curves, floors, code; what is compared, and what may be.

Imports no other room of analysis.
"""
