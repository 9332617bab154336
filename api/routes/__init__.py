"""One module per resource. A route checks scope, calls `orchestrator`, and returns a document; it decides nothing."""
