"""The kernel walls around a sandboxed process, one file each; standard library and ctypes only."""
