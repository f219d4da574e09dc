"""What a kernel can do wrong."""


class Fault(Exception):
    """A kernel did what a device forbids, or leaves undefined."""


class MemoryFault(Fault):
    """An address outside every array, or one that is not a multiple of what is read or written."""


class RaceFault(Fault):
    """Two threads met in shared memory with nothing between them."""


class ConvergenceFault(Fault):
    """Threads wait for others that never come."""


class UnknownInstruction(Exception):
    """PTX that the emulation does not know."""
