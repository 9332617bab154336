"""Words and rules: states, specs, slots, failures, profiles. No SQL, no I/O."""
