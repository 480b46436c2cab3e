"""Zeros of every layer by measurement and trial, and the sparsity that meets a target."""
