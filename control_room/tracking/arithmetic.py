"""The arithmetic of a run while it is going on; the class itself lives beside the verdict that ends with it."""

from control_room.verify.arithmetic import PLACES, Arithmetic

__all__ = ["PLACES", "Arithmetic"]
