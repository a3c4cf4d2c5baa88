"""The lab: the pictures and widgets of the notebooks and reports, and nothing else.

Every plotting function returns a matplotlib Figure in a `Theme`; `lab.notebook.show` displays it under a cell.
"""
