"""bruce-control: starts the pipeline, breaks it, follows every transaction, proves that nothing was lost."""
