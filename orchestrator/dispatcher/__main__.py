"""`python -m orchestrator.dispatcher`."""

import sys

from orchestrator.dispatcher.main import main

sys.exit(main())
