"""`python -m orchestrator.dispatcher`."""

from tx81.start import begin_service, modules_loaded

if __name__ == "__main__":
    begin_service()  # before anything that reads the environment is imported

import sys

from orchestrator.dispatcher.main import main

if __name__ == "__main__":
    modules_loaded()
    sys.exit(main())
