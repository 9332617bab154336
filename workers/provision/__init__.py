"""Setting up a host with a release: what is to be done, doing it, and what becomes of its slots."""
