"""Copies the flag files and the files for those who deploy into a folder of the user's own."""
