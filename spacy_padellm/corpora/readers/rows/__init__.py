"""Rows of JSON and of tables, as each tool writes them."""
