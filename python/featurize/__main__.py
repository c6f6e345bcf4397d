"""The command `featurize`, as the program itself: `python -m featurize run pipelines/fruits.yaml`."""

import sys

from . import _featurize


def main() -> None:
    """Run the command line program and leave with its exit code."""
    sys.exit(_featurize.main(["featurize", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
