"""The interchangeable parts, a family a folder, an idea a file; `assembly` builds those that a spec names.

May import registry.
"""
