"""The configuration: its values, the table of settings that reads and documents it, and the checks between them."""
