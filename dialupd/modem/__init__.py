"""A modem in a managed state.

timing      each time constant, with its reason
channel     one command at a time on an open port; what comes unasked goes to a callback
probe       who is there: from an open port to an initialised modem, and what it can do
calling     placing and answering a call: commands and outcomes
hangup      from whatever state a line is in back to command state
call        one call, from the first dial or ring to its end
redialer    when a modem dials by itself
line, loan  the port in other hands: a session's, another program's
host        what an owner needs of the daemon around it
owner       the modem's only owner: its state and the task that acts in it
ready       what the owner does in the states in which no call can be
activities  what the owner does in each state
requests    what may be asked of it
"""
