"""What all tests share: no example of a property test has a deadline, for a busy machine is no counterexample."""

from hypothesis import settings

settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")
