"""What was made elsewhere, taken in as artifacts: kernel images, and reference answers."""
