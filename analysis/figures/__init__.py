"""Figures and pictures: scores, curves, effects, searches, samples. May import tables and below."""
