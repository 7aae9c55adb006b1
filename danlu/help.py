"""What a command prints of itself: its help and its version, which ``cyclopts`` writes and not :mod:`danlu.log`."""

from __future__ import annotations

from cyclopts import App

from danlu.log import lost_where_refused


class Helping(App):
    """An app whose help is lost where output has no room for it, as any line is; :func:`danlu.log.said` tells."""

    help_print = lost_where_refused()(App.help_print)
    version_print = lost_where_refused()(App.version_print)
