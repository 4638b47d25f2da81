"""The panel as a person sees it: a real JupyterLab in a real browser."""
