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
steps       what its activities tell each other
reach       whether it can be reached: a lost line, and news of the radio
ready       what the owner does in the states in which no call can be
waiting     what the owner of an idle modem waits for
activities  what the owner does in each state
linedown    which way a call is ended
lending     the connected line's way to its session and back
requests    what may be asked of it
"""
