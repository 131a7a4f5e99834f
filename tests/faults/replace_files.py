"""Replaces files of a folder, and their digests: `replace_files FOLDER`."""

import sys

from pipelines.checksums import remove, write_bytes

if __name__ == "__main__":
    for content in (b"old", b"new" * 1000):
        for name in ("model", "epochs/01"):
            write_bytes(sys.argv[1], name, content)
    remove(sys.argv[1], "epochs/01")
