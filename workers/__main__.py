"""`python -m workers --slot g3`."""

from tx81.start import begin_service, modules_loaded

if __name__ == "__main__":
    begin_service()  # before anything that reads the environment is imported

import os
import sys

# SIGTERM gives a running job a few seconds and then stops it; Celery's default would wait for hours.
# Celery reads this when it is imported.
os.environ["REMAP_SIGTERM"] = "SIGQUIT"

from workers.main import main

if __name__ == "__main__":
    modules_loaded()
    sys.exit(main())
