"""``python -m onnx_lobs``: the command line."""

from onnx_lobs.cli.main import main

if __name__ == "__main__":
    main()
