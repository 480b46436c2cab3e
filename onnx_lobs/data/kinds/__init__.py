"""Opens files of every kind as samples; a table says which kind reads which files."""
