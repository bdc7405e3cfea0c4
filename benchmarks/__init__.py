"""How fast this library is, beside others. README.md says how to run and read it."""
