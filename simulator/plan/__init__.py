"""Capacity planning: fluid curves of change and service, and what can be read off them.

What writes is a curve (:mod:`.change`), what carries it away is another (:mod:`.capacity`), both
on one :class:`~simulator.plan.grid.TimeGrid`.  A protection system (:mod:`.protection`) says how
the one is offered to the other; :mod:`.fluid` subtracts them.  Of the cumulative curves the
vertical distance is what waits (the spool), the horizontal one is the lag (the RPO, if the source
were lost now).
"""
