"""The scenarios that come with the project: one YAML file each, and the JSON Schema of their form."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
"""Where they lie."""
SCHEMA: Final = FOLDER / "scenario.schema.json"
"""Made from the model by `python -m control_room.scenarios.model`."""
