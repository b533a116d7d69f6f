"""The kinds of modem: who they say they are, which commands they know, how they word CONNECT and a caller's number.

A new kind is an entry here.  Commands that no kind's table has are ERROR.  An extended command's entry says
what `=?` answers, what the value is after a reset, and what may be set (a pattern over the whole value); one
without a pattern can only be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Style(Enum):
    """How CONNECT is worded; see connected.py."""

    V250 = "CONNECT 33600, with +MCR: and its like in front when enabled"
    ROCKWELL = "CARRIER, PROTOCOL, COMPRESSION with W1, and the port's rate unless W2"
    USR = "CONNECT 33600/ARQ/V34/LAPM/V42BIS"
    PHONE = "a bare CONNECT"


class CallerForm(Enum):
    """How a caller's number is shown."""

    FIELDS = "DATE, TIME, NMBR, NAME between the first ring and the second"
    CLIP = "+CLIP: after every ring"


@dataclass(frozen=True, slots=True)
class Setting:
    """An extended command: see the module's text. `test` None: `=?` gives OK alone; `bare`: said without `=` or `?`."""

    default: str = ""
    takes: str | None = None
    test: str | None = None
    bare: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One make of modem."""

    name: str
    about: str
    info: Mapping[int, tuple[str, ...]]
    extended: Mapping[str, Setting]
    style: Style
    caller_form: CallerForm
    caller_command: str
    hears_voice: bool = False
    """Says VOICE when a human answers; others wait for a carrier until S7."""
    phone: bool = False
    """A mobile phone: voice calls with `;`, +CRING, +CLCC and its like, NO CARRIER when a caller gives up."""
    data: bool = True
    """Has a modem for calls; a phone without one makes a voice call of every number and refuses `*99#`."""
    modulation: str = "V90"
    rate: int = 33600
    basics: frozenset[str] = field(default_factory=frozenset)
    """Basic commands beyond the common ones that are taken and change nothing."""


def _says(text: str) -> Setting:
    return Setting(bare=text)


_LIST = r"[0-9]*(?:,[0-9]*){0,9}"

_REPORTS = {
    "+MR": Setting("0", "[012]", "(0,1,2)"),
    "+ER": Setting("0", "[01]", "(0,1)"),
    "+DR": Setting("0", "[01]", "(0,1)"),
    "+ILRR": Setting("0", "[01]", "(0,1)"),
}
_V250 = {
    **_REPORTS,
    "+MS": Setting(
        "V90,1,0,0,0,0",
        r"(?:[A-Z][A-Z0-9]{1,5})?(?:,[0-9]*){0,5}",
        "(V21,V22,V22B,V23C,V32,V32B,V34,K56,V90),(0,1),(0,300-33600),(0,300-33600),(0,300-33600),(0,300-33600)",
    ),
    "+ES": Setting("3,0,2", _LIST, "(0-4,6,7),(0-4),(0-9)"),
    "+DS": Setting("3,0,2048,32", _LIST, "(0-3),(0),(512-2048),(6-32)"),
    "+IPR": Setting("0", r"[0-9]{1,6}", "(0,300,1200,2400,9600,19200,38400,57600,115200)"),
    "+IFC": Setting("2,2", _LIST, "(0-3),(0-2)"),
    "+ICF": Setting("3,3", _LIST, "(1-6),(0-3)"),
    "+FCLASS": Setting("0", r"[0128]|1\.0|2\.0", "0,1,1.0,8"),
}

CONEXANT = Kind(
    name="conexant",
    about="a USB 56k modem with a CX93010 chip",
    info={
        0: ("56000",),
        1: ("OK",),
        2: ("OK",),
        3: ("CX93001-EIS_V0.2002-V92",),
        4: ("B5",),
        5: ("C5",),
        6: ("CX93001", "RCV56DPF-PLL Rev 01.01"),
        7: ("255",),
        8: ("8",),
        9: ("(1.0CXT1329\\\\MODEM\\PNPC107\\CONEXANT USB MODEM)FF",),
    },
    extended={
        **_V250,
        "+GMI": _says("CONEXANT"),
        "+GMM": _says("CX93001"),
        "+GMR": _says("CX93001-EIS_V0.2002-V92"),
        "+FMI": _says("CONEXANT"),
        "+FMM": _says("CX93001"),
        "+FMR": _says("CX93001-EIS_V0.2002-V92"),
        "+GCAP": _says("+GCAP: +FCLASS,+MS,+ES,+DS"),
        "+GCI": Setting("B5", r"[0-9A-F]{2}", "(00,04,0A,0F,20,31,3D,42,59,7B,82,8A,9C,A0,A5,B4,B5,FE)"),
        "+VCID": Setting("0", "[012]", "(0-2)"),
        "-SDR": Setting("0", "[0-7]", "(0-7)"),
        "+PCW": Setting("0", "[012]", "(0-2)"),
        "+PMH": Setting("0", "[01]", "(0,1)"),
    },
    style=Style.ROCKWELL,
    caller_form=CallerForm.FIELDS,
    caller_command="+VCID",
    basics=frozenset({"\\V", "%C", "%E", "&Q"}),
)

USR = Kind(
    name="usr",
    about="a U.S. Robotics Courier: no +MS, caller id by #CID, CONNECT with everything after slashes",
    info={
        0: ("5601",),
        1: ("C79D",),
        2: ("OK",),
        3: ("U.S. Robotics 56K FAX USB V1.2.23",),
        4: ("B0  F1  M1  X1",),
        7: (
            "Configuration Profile...",
            "Product type           US/Canada External",
            "Options                V32bis,V.34+,x2,V.90",
            "Fax Options            Class 1/Class 2.0",
        ),
        9: ("(1.0USR0303\\\\Modem\\PNPC107\\U.S. Robotics 56K FAX EXT)FF",),
    },
    extended={
        **_REPORTS,
        "+GMI": _says("U.S. Robotics"),
        "+GMM": _says("5601"),
        "+GMR": _says("V1.2.23"),
        "+GCAP": _says("+GCAP: +FCLASS"),
        "+FCLASS": Setting("0", r"[01]|2\.0", "0,1,2.0"),
        "#CID": Setting("0", "[012]", "(0-2)"),
    },
    style=Style.USR,
    caller_form=CallerForm.FIELDS,
    caller_command="#CID",
    hears_voice=True,
    basics=frozenset({"&A", "&B", "&H", "&I", "&M", "&R", "&N", "&U", "B"}),
)

_PHONE = {
    "+CLIP": Setting("0", "[01]", "(0,1)"),
    "+CRC": Setting("0", "[01]", "(0,1)"),
    "+CPIN": Setting("READY", r'"?[0-9]{4,8}"?'),
    "+CREG": Setting("0,1", "[012]", "(0-2)"),
    "+COPS": Setting('0,0,"Simulated"', r"[0-4](?:,.{0,40})?"),
    "+CMEE": Setting("0", "[012]", "(0-2)"),
    "+CSCS": Setting('"IRA"', r'"[A-Z0-9-]{1,12}"', '("GSM","IRA","UCS2")'),
    "+CVHU": Setting("0", "[012]", "(0-2)"),
    "+CMER": Setting("0,0,0,0,0", r"[0-3](?:,[0-2]?){0,4}", "(0-3),(0),(0),(0-2),(0)"),
    # What these say stands in phone.py.
    "+CSQ": Setting(bare="+CSQ", test="(0-31,99),(99)"),
    "+CBC": Setting(bare="+CBC", test="(0-3),(0-100)"),
    "+CIND": Setting(test='("battchg",(0-5)),("signal",(0-5)),("service",(0,1)),("call",(0,1))'),
    "+CPAS": Setting(bare="+CPAS", test="(0,3,4)"),
    "+CLCC": Setting(bare="+CLCC"),
    "+CHUP": Setting(bare="+CHUP"),
}

NOKIA = Kind(
    name="nokia",
    about="a mobile phone: +CLIP, +CRING, *99#, data calls at 9600",
    info={0: ("Nokia",), 1: ("351102500000007",), 3: ("Nokia 6230",)},
    extended={
        **_REPORTS,
        **_PHONE,
        "+GMI": _says("Nokia"),
        "+GMM": _says("Nokia 6230"),
        "+GMR": _says("V 05.50\n27-03-06\nRH-12"),
        "+CGMI": _says("Nokia"),
        "+CGMM": _says("Nokia 6230"),
        "+CGMR": _says("V 05.50\n27-03-06\nRH-12"),
        "+CGSN": _says("351102500000007"),
        "+GSN": _says("351102500000007"),
        "+CIMI": _says("001010123456789"),
        "+GCAP": _says("+GCAP: +CGSM,+DS,+W"),
        "+DS": Setting("0,0,512,6", _LIST, "(0-3),(0),(512-2048),(6-32)"),
        "+FCLASS": Setting("0", "[0128]", "0"),
        "+CGREG": Setting("0,1", "[012]", "(0-2)"),
        "+CGATT": Setting("1", "[01]", "(0,1)"),
        "+CGDCONT": Setting(
            '1,"IP","internet"', r'[0-9]{1,2}(?:,"[^"]{0,100}"|,[0-9]*|,){0,6}', '(1-10),"IP",,,(0),(0)'
        ),
        "+CGACT": Setting("1,1", _LIST, "(0,1)"),
        "+CGQREQ": Setting("", _LIST),
        "+CGQMIN": Setting("", _LIST),
        "+CBST": Setting("7,0,1", _LIST, "(0-7,12,14,65,66,68,70,71,75),(0),(0-3)"),
        "+CHSN": Setting("1,1,0,0", _LIST),
        "+CSMS": Setting("0", "[01]", "(0,1)"),
        "+CFUN": Setting("1", r"[0-9](?:,[01])?", "(0,1),(0,1)"),
        "+CNMI": Setting("0,0,0,0,0", _LIST),
    },
    style=Style.PHONE,
    caller_form=CallerForm.CLIP,
    caller_command="+CLIP",
    phone=True,
    modulation="",
    rate=9600,
)

VOICE_PHONE = Kind(
    name="voice-phone",
    about="a mobile phone without a data modem: every number becomes a voice call, *99# is refused",
    info={0: ("Samsung",), 3: ("SGH-E250",)},
    extended={
        **_PHONE,
        "+GMI": _says("SAMSUNG"),
        "+GMM": _says("SGH-E250"),
        "+GMR": _says("E250XEGJ1"),
        "+CGMI": _says("SAMSUNG"),
        "+CGMM": _says("SGH-E250"),
        "+CGMR": _says("E250XEGJ1"),
        "+CGSN": _says("351102500000015"),
        "+GSN": _says("351102500000015"),
        "+CIMI": _says("001010123456780"),
        "+GCAP": _says("+GCAP: +CGSM"),
        "+FCLASS": Setting("0", "0", "0"),
    },
    style=Style.PHONE,
    caller_form=CallerForm.CLIP,
    caller_command="+CLIP",
    phone=True,
    data=False,
    modulation="",
    rate=9600,
)

GENERIC = Kind(
    name="generic",
    about="a plain V.25ter modem: few extended commands, caller id by %CCID",
    info={0: ("33600",), 1: ("000",), 2: ("OK",), 3: ("V.34 Modem V1.00",), 4: ("Generic",)},
    extended={
        "+GMI": _says("Generic"),
        "+GMM": _says("V.34 Modem"),
        "+GMR": _says("V1.00"),
        "+GCAP": _says("+GCAP: +FCLASS"),
        "+FCLASS": Setting("0", "[01]", "0,1"),
        "%CCID": Setting("0", "[012]", "0-2"),
    },
    style=Style.V250,
    caller_form=CallerForm.FIELDS,
    caller_command="%CCID",
    modulation="V34",
    basics=frozenset({"%C", "%E", "&Q", "&T", "B"}),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in (CONEXANT, USR, NOKIA, VOICE_PHONE, GENERIC)}
