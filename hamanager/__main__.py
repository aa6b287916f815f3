"""`python -m hamanager`."""

from hamanager.cli import main

main()
