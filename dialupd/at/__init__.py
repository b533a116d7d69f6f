"""The AT command dialogue as values and tables: no descriptor, no clock, no loop.

results    what a modem may say last, and what it says unasked
lines      bytes in any chunking become lines, prompts and "need more"
exchange   one command in flight: which line is echo, information, the reply, or none of them
connect    what CONNECT and the lines before it tell of the line
callerid   caller identification, collected over several lines
dialstring what may be dialled
"""
