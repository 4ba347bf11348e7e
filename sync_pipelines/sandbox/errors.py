"""The one error of the sandbox that people are expected to meet."""


class SandboxError(Exception):
    """Something that the user can mend; its text is a sentence that says what happened and what to do."""
