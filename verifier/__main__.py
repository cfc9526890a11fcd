"""`python -m verifier`: the same as the command `verifier`."""

import sys

from verifier.cli.main import main

sys.exit(main())
