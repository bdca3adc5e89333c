"""How a guest, or what boots it, can fail; each with the exit status that tells."""


class GuestError(Exception):
    """The harness itself failed: no QEMU, no boot, no answer."""

    status = 125


class GuestTimeout(GuestError):
    """Something took longer than it was given."""

    status = 124


class KernelReport(GuestError):
    """A guest's kernel warned, oopsed, stalled or died. The text holds the log."""

    status = 126


class CommandFailed(GuestError):
    """A command run with check=True ended with another status than 0."""

    status = 1
