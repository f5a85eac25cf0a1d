"""Start the commands of the validity pages: `python -m experiments.validity`."""

from experiments.validity.suite import main

main()
