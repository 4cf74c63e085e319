"""The name of the component's factory, and by default of the component."""

FACTORY = "padellm_ner"
