"""Turns ONNX nodes into the steps of a C program, one file for each family of operators."""
