"""`python -m hamanager`."""

from hamanager.cli.main import main

main()
