"""Our own load client: asks one server many times, measures each answer, and writes down what it heard."""
