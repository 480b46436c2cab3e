"""Finds values of the graph that are the same for any data, as those of filters of zeros are."""
