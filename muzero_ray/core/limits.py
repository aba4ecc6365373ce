"""What a machine cannot do, as an error of its own."""


class MachineLimit(RuntimeError):
    """What was asked for is more than the machine can do. The message says what to lower; no traceback would help."""
