"""``python -m foldsmith``: the same as the console script."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from foldsmith.problem.standard_streams import fill_standard_streams

    fill_standard_streams()
    from foldsmith.cli.main import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
