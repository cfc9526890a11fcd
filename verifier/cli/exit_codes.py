"""The exit codes of the command line."""

from enum import IntEnum


class Exit(IntEnum):
    """What the process returns."""

    GOOD = 0
    """A complete answer: a closed bracket, "unreachable", "already adversarial"; robust; an example found by attack."""
    VIOLATED = 1
    """`check`: there is an adversarial example within the radius. `certify`: the certificate is not valid."""
    BAD_INPUT = 2
    """Bad input or usage: one line on stderr, nothing on stdout, nothing written."""
    UNDECIDED = 3
    """The budget ended (or Ctrl-C came) before the answer was complete, or the certificate that was asked for could not
    be made; what is known was printed."""
    DEFECT = 70
    """A defect of this program (EX_SOFTWARE of sysexits.h)."""
    UNWRITTEN = 74
    """The answer, or a file of it, could not be written: the disk is full, say (EX_IOERR). What could be was.

    A stdout or stderr that is closed is no fault: the exit code is that of the answer."""
    INTERRUPTED = 130
    """Ctrl-C before or after the work, when there was nothing to answer."""
    BROKEN_PIPE = 141
    """The reader of stdout went away before everything was said (128 + SIGPIPE)."""
