"""``python -m deltaprop``."""

from deltaprop.cli import main

if __name__ == "__main__":
    main()
