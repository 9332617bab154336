"""What a person hands in: JSON and YAML files, options of an inference, times. Errors name the field."""
