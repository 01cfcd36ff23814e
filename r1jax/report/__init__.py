"""What people look at: curves as PNG, a table, an HTML page. Nothing but a workdir's files is read."""
