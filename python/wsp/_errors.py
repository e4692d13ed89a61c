"""The one exception of the package."""


class Error(Exception):
    """What the toolkit refuses, with the words that its commands have for it.

    ``code`` is the name of the error's class: ``usage`` (a value that cannot be), ``no_input`` (no
    dataset or file there), ``corrupt`` (damaged bytes: a hash that does not fit, a broken header),
    ``output``, ``interrupted`` or ``failure`` (all else). ``str(error)`` says what was expected, what
    was found and what to do.
    """

    code: str

    def __init__(self, message: str, code: str = "failure") -> None:
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])
