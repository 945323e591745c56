"""The commands of the command line: parsing, one call, and an exit status."""
