"""Start the command line: experiments/cli."""

from experiments.cli.app import app

if __name__ == "__main__":
    app()
