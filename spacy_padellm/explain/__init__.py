"""How a text was decoded: its token tree and its passes, drawn."""
