"""The command line: verbs, options, progress bars. The only package that prints."""
