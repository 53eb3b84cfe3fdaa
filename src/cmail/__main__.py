"""`python -m cmail`: hands over to cli.main."""

from cmail.cli.main import main

if __name__ == "__main__":
    main()
