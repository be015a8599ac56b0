"""The version of the package, the functions and the command."""

VERSION = "0.1.0"
