"""`python -m verifier`, and the command `verifier`: the same."""

import sys


def main() -> int:
    """Run the command line. A Ctrl-C while its modules are imported ends as one that comes later does."""
    try:
        from verifier.cli.main import main as command  # noqa: PLC0415, inside what catches Ctrl-C
    except KeyboardInterrupt:
        from verifier.cli.complaint import complain  # noqa: PLC0415
        from verifier.cli.exit_codes import Exit  # noqa: PLC0415

        complain("interrupted")
        return Exit.INTERRUPTED
    return command()


if __name__ == "__main__":
    sys.exit(main())
