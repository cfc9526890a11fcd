"""The one exception that a user's input may cause, carried from any layer to the command line."""


class InputError(Exception):
    """What the user brought cannot be used.

    The message is one line: what is wrong, where, and what would be right. The command line prints it and exits
    with code 2; it never stands for a defect of the engine.
    """
