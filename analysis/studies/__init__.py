"""How often the rule of the verdicts is right: simulations, and one arm against itself.

Imported by `plan` alone, which says what seeds until decided are expected to cost; may import tables and below.
"""
