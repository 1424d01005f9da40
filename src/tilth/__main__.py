"""`python -m tilth`: the command, for where its script is not on the path."""

from tilth.cli import main

main()
