"""Doing: the command line, and the rooms below it.

Downwards: cli, search, launch, plan and worker, scores, training and tracking, record; `validity` stands beside them.
May import analysis, components and registry. The experiment files (*.yaml) lie at the top.
"""
