"""The paper's error analysis (appendix E) for any model, as tables and a page."""
