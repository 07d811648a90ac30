"""Set-up, and what makes the documentation: the site, the notebook, the pictures of the tasks."""
