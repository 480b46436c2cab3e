"""Does what the verbs of the command line say, one file a verb."""
