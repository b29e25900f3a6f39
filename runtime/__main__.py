"""``python -m runtime -w WORKSPACE -- CMD …``."""

import sys

from runtime.supervisor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
