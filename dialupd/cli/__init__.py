"""dialupctl: shows and controls the daemon over D-Bus.

arguments what argparse is told of each
commands  the table of subcommands; everything argparse knows comes from it
rows      objects of the bus and rows of the history as plain values under kebab-case keys
text      hostile text, tables, styles
when      points in time and durations, for people
words     states and reasons as sentences
find      which modem a person means
remote    the daemon as a client sees it: objects, calls, events
show, act, follow, check, terminal    what the subcommands do
escapes, tty, join    what terminal is made of: what was typed, the person's terminal, the two ways of the bytes

Results go to stdout, complaints and progress advice to stderr.  With `--json` stdout carries JSON only.
"""
