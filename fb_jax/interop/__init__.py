"""Interop: fused spaces and banks for other programs, one thin adaptor a file, each an extra."""
