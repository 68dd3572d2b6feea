"""What a law is: units, intervals, stated values, laws, chains. Knows nothing of models or machines."""
