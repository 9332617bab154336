"""The documents about checks of releases; what a client sends is in `orchestrator.model.release_checks`."""
