"""What tests are about, made with only the facts that a test names; the rest is filled in."""
