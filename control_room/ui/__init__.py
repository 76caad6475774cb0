"""The control room on a terminal: views that draw snapshots, commands that act. The one folder that knows Textual."""
