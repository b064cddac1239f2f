"""Trees and forests, whoever grew them: read, tabled, and written as graphs."""
