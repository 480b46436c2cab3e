"""Collects the second moments of every layer's inputs."""
