"""What is done: one process owns one slot and runs the attempts that are assigned to it."""
