"""d2l: from a config to a trained model, on one command line."""
