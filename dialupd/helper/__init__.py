"""The privileged helpers: each is a root process in a unit of its own, with the few rights that its one work needs.

Units name them (`python3 -I -m dialupd.helper …`) and the daemon can do no more than have such a unit started.  So
what a helper takes from the daemon are names, which may be hostile; what the names stand for it reads itself in the
configuration that root wrote.
"""
