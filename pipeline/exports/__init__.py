"""The label table in the forms that others read: one form, one file."""
