"""Where things are kept: rows, files by digest, logs."""
