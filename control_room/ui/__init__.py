"""The control room on a terminal: views over snapshots, and the commands that act. The one folder that knows Textual."""
