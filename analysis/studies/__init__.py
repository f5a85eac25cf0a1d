"""How often the rule of the verdicts is right: simulations, and one arm against itself.

Imported by nobody; may import tables and below.
"""
