"""Results on disk: documents, folders of runs, locks."""
