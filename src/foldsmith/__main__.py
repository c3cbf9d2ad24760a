"""``python -m foldsmith``: the same as the console script."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from foldsmith.cli.machine import in_utf8_mode, prepare_streams

    in_utf8_mode(sys.orig_argv)
    prepare_streams()
    from foldsmith.cli.main import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
