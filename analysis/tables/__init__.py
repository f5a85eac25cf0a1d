"""Scores, ranks and verdicts as text: terminal, Markdown, LaTeX, CSV, HTML and JSON. May import verdicts and below."""
