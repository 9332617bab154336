"""What is true about jobs, slots and results; starts no vendor process and serves no page."""
