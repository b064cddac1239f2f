"""How a package is executed: engines for compiled graphs, a sandbox for everything that carries code."""
