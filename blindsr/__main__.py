"""``python -m blindsr`` is ``blindsr``."""

import sys

from blindsr.cli import main

sys.exit(main())
