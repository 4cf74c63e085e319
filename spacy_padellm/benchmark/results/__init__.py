"""The results: figures and floors, as tables and a chart."""
