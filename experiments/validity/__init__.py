"""What each detector is blind to: `python -m experiments.validity` makes docs/validity.md. No room imports it."""
