"""Commands: they read options, call the library and show the result."""
