"""The page in the browser: live video, state, events, zones and recordings of a run: docs/guides/web.md."""
