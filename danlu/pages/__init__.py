"""What the pages that Danlu serves or writes have in common: colours, letters, charts, a sheet."""
