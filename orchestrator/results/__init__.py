"""What runs say about each other: answers, metrics. No SQL, no files."""
