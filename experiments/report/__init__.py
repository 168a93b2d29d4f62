"""The report of a job: one page of pictures, tables and bars."""
