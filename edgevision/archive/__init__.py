"""Archives: many recordings, and long ones, through a model; exact, and resumable at any moment.

:class:`~edgevision.archive.driver.Archive` gives work to workers, which write results and rename them; the
driver alone writes the index. docs/guides/archives.md says what comes out.
"""
