"""Parts, experiments and runs by name: fast to import, without torch, and without knowing a component.

Inside: runs -> experiment -> parts -> schema; errors and strict_yaml serve all of them.
"""
