"""What all tests share.

No example of a property test has a deadline, for a busy machine is no counterexample. And the stack that a command
means is a local one, on a machine with a Docker engine too: tests/docker says otherwise where it means otherwise.
"""

import os

from hypothesis import settings

os.environ["BRUCE_RUNTIME"] = "local"
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")
