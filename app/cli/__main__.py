"""``python -m app.cli``: the same as the ``turnkeeper`` script."""

from app.cli.main import main

if __name__ == "__main__":
    main()
