"""From the files of a run to a verdict. Touches no network."""
