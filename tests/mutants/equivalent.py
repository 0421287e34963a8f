# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines whose mutants nobody can notice, with the reason: (file, a piece of the line, why)."""

_FIRST = "only the first byte of what is loaded counts"
_STACK = "the arrays are longer than any message that lies in them, and no address on the stack is told"
_ANY_BYTES = "any bytes will do that differ from those before"
_OVERWRITTEN = "set anew before it is read"
_WHOLE_PAGES = "module memory comes in whole pages"
_FROZEN = "frozen is for the type checker"
_ATTRS = "bit 0 is no attribute"
_FALSE = "None is as false"
_UNASKED = "where it is left out nobody looks at it"
_SAME_LENGTH = "there are as many here as there"
_CLOCK = "the clock does not stand still"

EQUIVALENT: tuple[tuple[str, str, str], ...] = (
    ("model/bus.py", "self.reads = (self.reads + 1) & 0xFF", _ANY_BYTES),
    ("model/client.py", "at = self._seq + message & 0xFF", _ANY_BYTES),
    ("model/client.py", "self._seq = scenario.seed if self.exact else self._seq + 1", _ANY_BYTES),
    ("model/client.py", "data.block[1 : 1 + min(length, 33)] = fill[:33]", "the slice ends where the union does"),
    ("model/client.py", "if length * (_MAX_CALLS + 1) > CLIENT_MAX_LEN:", "8192 is no multiple of 5"),
    ("model/client.py", "self._seq = 0", _OVERWRITTEN),
    ("model/client.py", "self.held = 0", _OVERWRITTEN),
    ("model/client.py", "self.held_order = 0", _OVERWRITTEN),
    ("model/client.py", "kernel.memory.store(first, client._fill(1))", "one byte of it is sent"),
    ("model/client.py", "self.module_data = allocators.module_alloc(", _WHOLE_PAGES),
    ("model/client.py", "rodata = allocators.module_alloc(", _WHOLE_PAGES),
    (
        "model/allocators.py",
        "if size > KMALLOC_MAX_CACHE_SIZE:",
        "two pages hold as much as the largest cache's objects",
    ),
    ("model/config.py", "@dataclass(frozen=True)", _FROZEN),
    ("model/dma.py", "attrs: int = 0", _ATTRS),
    ("model/dma.py", "return False", _FALSE),
    ("model/device.py", "self.dma_address = 0", _UNASKED),
    ("model/dma.py", "_IO_TLB_POOL_BYTES = ", "any size will do that is large"),
    ("model/dma_debug.py", "@dataclass(slots=True", "slots save time and memory"),
    (
        "model/dma_debug.py",
        "MAP_ERR_CHECK_NOT_APPLICABLE, MAP_ERR_NOT_CHECKED, MAP_ERR_CHECKED = ",
        "three numbers that differ",
    ),
    ("model/dma_debug.py", "paddr: int = 0", _UNASKED),
    ("model/dma_debug.py", "sg_mapped_ents: int = 0", _UNASKED),
    ("model/dma_debug.py", "attrs: int = 0", _ATTRS),
    ("model/dma_debug.py", "return False", _FALSE),
    ("model/dma_debug.py", 'MESSAGES["sync-out-of-range"]', "the entry that contains a range is never smaller"),
    ("model/log.py", "@dataclass(frozen=True)", _FROZEN),
    ("model/log.py", "_OOPS_ID = ", "a random number"),
    ("model/oops.py", 'place = Place("", 0, ', "a fault tells no line"),
    ("model/memory.py", "if self._fast_start <= address and address + length <= self._fast_end", "only a short cut"),
    ("model/memory.py", "self._fast_start = ", "only where the short cut begins, but for 32 bits"),
    ("model/controllers.py", "last = len(msgs) - 1", "where the group ends is told once more by end_group()"),
    ("model/i2c.py", "place = Place(", "the line of a report is told to people only; 0 is unknown"),
    ("model/regmap.py", "self.reg_bytes = -(-config.reg_bits // 8)", "no width that has a format tells 8 from 9"),
    ("model/regmap.py", "_QUIRKS_SINCE = ", "of the versions between 5.10 and 6.1 none was read"),
    ("model/smbus.py", "msgbuf0 = task.alloca(", _STACK),
    ("model/smbus.py", "msgbuf1 = task.alloca(", _STACK),
    ("model/smbus.py", "memory.store(msgbuf0 + 1, bytes(block[:", "what lies beyond a message's length is not sent"),
    ("model/smbus.py", "memory.store(first.buf + 1, bytes(block[:", "what lies beyond a message's length is not sent"),
    ("model/smbus.py", "res = 0", _OVERWRITTEN),
    ("model/smbus.py", "rpec = self.memory.load(msg.buf + msg.len, 1)[0]", _FIRST),
    ("model/smbus.py", "data.block[0] = load(first.buf, 1)[0]", _FIRST),
    ("model/smbus.py", "data.block[0] = load(second.buf, 1)[0]", _FIRST),
    ("model/smbus.py", "count = load(second.buf, 1)[0]", _FIRST),
    (
        "model/smbus.py",
        "if status == 0 and wants_pec and last.flags",
        "the code added to a write matches when it is checked",
    ),
    ("outcome.py", "zip(observation.caller, observation.bus, strict=True)", _SAME_LENGTH),
    ("outcome.py", "zip(self.words(), other.words(), strict=True)", _SAME_LENGTH),
    ("outcome.py", "sent.prefix and len(sent.data) < len(seen.data)", "lengths that are the same do not come so far"),
    ("carriers/other_bus.py", "min(scenario.length, 256))", "what comes of a longer one is the same"),
    ("targets/runner.py", "self.reports_before = 0", _OVERWRITTEN),
    ("targets/runner.py", "self.performed = 0", "only how many more it becomes counts"),
    ("targets/runner.py", "return max(session.gathered.trace, default=0)", "the first number is 1"),
    ("targets/session.py", '(integer(arguments, "timeout_ms") or 0) / 1000', "a thousandth of a second more"),
    ("targets/gathered.py", 'fields = text.split(",", 2)', "of the fields only the second is read"),
    ("targets/wire.py", 'stray = bool(integer(segment, "stray", 1))', "any number but 0 will do"),
    ("targets/boot.py", "if left <= 0:", _CLOCK),
    ("targets/board_session.py", "if left <= 0:", _CLOCK),
    ("targets/board_session.py", "(selectors.EVENT_WRITE if self._stream.unsent else 0)", "EVENT_READ is 1"),
    ("targets/board_session.py", "while self._last_word() is None and time.monotonic() < until:", _CLOCK),
    ("targets/board_session.py", "self._selector.select(_POLL_S)", "it only rests"),
    ("targets/boot.py", "selector.register(self.console.fileno(), selectors.EVENT_READ)", "it looks again soon anyway"),
    ("targets/boot.py", "(selectors.EVENT_WRITE if self.agent.unsent else 0)", "EVENT_READ is 1"),
    ("targets/boot.py", "while time.monotonic() < deadline:", _CLOCK),
    (
        "targets/boot.py",
        "if self.console.fileno() in ready and self.console.open:",
        "where nothing is to be read nothing is read",
    ),
)
