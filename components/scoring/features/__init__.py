"""Videos -> features: which clips, how their frames are treated, and how they are measured."""
