"""``python -m deltaprop.cli``."""

from deltaprop.cli import main

if __name__ == "__main__":
    main()
