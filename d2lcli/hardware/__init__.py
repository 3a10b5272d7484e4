"""The machine: what is measured (compute, memory, transfers, collectives, models), what follows, what is modelled."""
