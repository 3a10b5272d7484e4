"""What `d2l generate` does for each kind of run; one file per kind."""
