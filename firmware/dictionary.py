"""The words of the controller link: message types, commands, results and events, with the layout of each.

Both ends compute the hash of this dictionary and say it in their HELLO; a board with another dictionary is refused by
the host until it is updated, and still takes that update. Numbers are little-endian struct layouts.
"""

from binascii import crc32

# Message types. ACK and HELLO belong to the link itself.
ACK = 0
HELLO = 1
COMMAND = 16  # request u32 | command u8 | arguments
RESULT = 17  # request u32 | result u8 | data
EVENT = 18  # log u32 | number u32 | event u8 | detail u16 | age_s u32; kept until EVENT_KEPT names it
EVENT_KEPT = 19  # log u32 | number u32: the host has journaled every event up to this one
SIGNAL = 20  # signal u8 | detail u16: matters only now
STATUS = 21  # a snapshot, see STATUS_LAYOUT; not repeated when lost

COMMAND_HEAD = "<IB"
RESULT_HEAD = "<IB"
EVENT_LAYOUT = "<IIBHI"
EVENT_KEPT_LAYOUT = "<II"
SIGNAL_LAYOUT = "<BH"
AGE_UNKNOWN_S = 0xFFFFFFFF  # the event is of an earlier boot; a board without a clock cannot say how old it is

# Commands, and the layout of each one's arguments by its number; None where the length is not fixed
DO_LAMP = 1  # lamp, LAMP_*
DO_RING = 2  # RING_*, red, green, blue
DO_LIGHT = 3  # wavelength_nm, level_percent, duration_ms
DO_DARK = 4
DO_BUZZ = 5  # BUZZ_*
DO_HOME = 6  # AXIS_*
DO_STEP = 7  # AXIS_*, steps
DO_FEED = 8
DO_GATE = 9  # 0 close, 1 open
DO_IDENTIFY = 10
DO_COUNTERS = 11
DO_UPDATE_BEGIN = 12  # bytes, version, SHA-256, HMAC-SHA256
DO_UPDATE_BLOCK = 13  # offset u32 | bytes
DO_UPDATE_END = 14
DO_RESTART = 15
DO_FACTORY_RESET = 16
ARGUMENTS = (
    None, "<BB", "<BBBB", "<HBH", "", "<B", "<B", "<Bh", "", "<B", "", "", "<II32s32s", None, "", "", "",
)  # fmt: skip
UPDATE_BLOCK_HEAD = "<I"
UPDATE_BLOCK_BYTES_MAX = 180
IDENTITY_LAYOUT = "<8sIBBIII"  # board id, version, slot, flags, boots, free bytes, data format
IDENTITY_HAS_KEY = 1
IDENTITY_ON_TRIAL = 2
COUNTERS_LAYOUT = "<IIIIIIII"
COUNTERS = (
    "frames_in", "frames_out", "crc_errors", "retransmits", "overruns", "resyncs", "duplicates", "naks",
)  # fmt: skip

# Results: 0 done, otherwise why not
OK = 0
UNKNOWN_COMMAND = 1
BAD_ARGUMENTS = 2
RESTING = 3  # data: u32 milliseconds until the light may go on
TOO_HOT = 4
NO_THERMOMETER = 5
NO_SUCH_PART = 6
BUSY = 7
JAMMED = 8
NOT_HOMED = 9
EMPTY = 10
BAD_IMAGE = 11
NOT_GENUINE = 12
NO_KEY = 13
TOO_OLD = 14
BUTTON_NEEDED = 15
FLASH_FAILED = 16
OUT_OF_ORDER = 17  # data: u32 offset that is expected
STOPPED = 18  # a move, when the host fell silent

# Events, kept until the host has them
EVENTS = {
    1: "started",  # detail: cause of the reset
    2: "tamper-open",
    3: "tamper-closed",
    4: "door-open",
    5: "door-closed",
    6: "jam",  # detail: AXIS_*
    7: "overheat",  # detail: degrees Celsius
    8: "link-lost",
    9: "fell-back",  # detail: slot that runs now
    10: "updated",  # detail: slot that runs now
    11: "factory-reset",
    12: "events-missed",  # detail: how many did not fit
    13: "software-fault",
}
STARTED, TAMPER_OPEN, TAMPER_CLOSED, DOOR_OPEN, DOOR_CLOSED, JAM, OVERHEAT = 1, 2, 3, 4, 5, 6, 7
LINK_LOST, FELL_BACK, UPDATED, FACTORY_RESET, EVENTS_MISSED, SOFTWARE_FAULT = 8, 9, 10, 11, 12, 13

# Signals
PRESENCE, BUTTON = 1, 2

# Reset causes
POWER_ON, WATCHDOG, SOFTWARE, OTHER_CAUSE = 1, 2, 3, 4

LAMP_OFF, LAMP_ON, LAMP_BLINK = 0, 1, 2
LAMPS = 3
RING_OFF, RING_STEADY, RING_BREATHE, RING_TURN = 0, 1, 2, 3
BUZZ_OK, BUZZ_RETRY, BUZZ_ALARM, BUZZ_OFF = 1, 2, 3, 0
AXIS_HOPPER, AXIS_GATE = 0, 1
WAVELENGTHS_NM = (850, 940)

# inputs u16 | NIR °C i8 (NO_TEMPERATURE) | light level u8 | hopper u8 | gate u8 | uptime_s u32 | free bytes u32 |
# safe u8
STATUS_LAYOUT = "<HbBBBIIB"
NO_TEMPERATURE = -128
# Inputs
IN_PRESENCE, IN_TAMPER, IN_DOOR, IN_BUTTON, IN_HOPPER_HOME, IN_HOPPER_EXIT, IN_GATE_HOME = 1, 2, 4, 8, 16, 32, 64

_TEXT = (
    ";".join([layout or "-" for layout in ARGUMENTS])
    + "|".join([EVENT_LAYOUT, EVENT_KEPT_LAYOUT, SIGNAL_LAYOUT, STATUS_LAYOUT, IDENTITY_LAYOUT, COUNTERS_LAYOUT])
    + ";".join([f"{code}={EVENTS[code]}" for code in sorted(EVENTS)])
)
HASH = crc32(_TEXT.encode())
