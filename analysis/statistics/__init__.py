"""Tests of a few paired seeds, and what they cost: Student's t, Holm, power, spending, scatter. Numbers in and out.

Imports no other room of analysis.
"""
