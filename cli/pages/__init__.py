"""What is printed: tables and pages from API documents; text from outside is cleaned of terminal escapes."""
