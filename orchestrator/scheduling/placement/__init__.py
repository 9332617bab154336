"""Which queued job runs on which free slot. Pure: no SQL, no Celery, no clock."""
