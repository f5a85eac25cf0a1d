"""The paper's claims beside what was run: scoreboard and pages for the docs. May import report, reading and below."""
