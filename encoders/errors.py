"""The exceptions that any layer may raise and that the uppermost ones turn into answers."""


class InputError(Exception):
    """What the user brought cannot be used.

    The message is one line: what is wrong, where, and what would be right. The command line prints it and exits
    with code 2; it never stands for a defect of the engine.
    """

    def __init__(self, message: str) -> None:
        # Names out of a damaged file may hold line ends or a terminal's escape codes.
        super().__init__("".join(sign if sign.isprintable() else "?" for sign in message))


class SolverError(Exception):
    """A solver did not run, or ended in an error: nothing that it left is an answer.

    The message names the solver and what it said. A search ends with it as its reason.
    """
