"""The verbs of the command line, one module each; what they share stands beside them."""
