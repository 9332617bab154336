"""What is shown: the HTTP face of the orchestrator. It writes SQL and never touches the broker."""
