"""Folders that other people's platforms deploy, one file a platform."""
