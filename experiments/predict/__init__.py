"""The whole job of a case: stages, vote, masks, scores, report."""
