#!/usr/bin/env python3
"""Writes what two other implementations say of when a cron expression fires next, for AgreementTests to compare.

    agreement.py FILE

It installs the two in a virtual environment beside FILE, for which it needs python3-venv. FILE gets one line for each triple: expression, zone, instant and the next occurrence after it, with tabs between, the
last two in seconds since the epoch; the last is - when there is none in 50 years. The seed is fixed. Instants lie around transitions of their zone, and anywhere
between 2020 and 2040. The zones are the system's.

cronsim says when a five-field expression fires; it follows Debian's cron, also on days on which a clock is changed.
croniter says which days `15W` means, which cronsim does not know, and what a macro stands for.

What is written differently to them, without meaning anything else:

    FRIL, FRI#L      5L: cronsim takes L after a digit only
    MON-WED#2        1#2,2#2,3#2: cronsim has no range before # or L
    FRI-SUN          5-7: Sunday is 0 there, and a range must not run backwards
    3-3/2            3: cronsim takes it for 3/2 and goes on to the end of the field, croniter begins anywhere
    15W,L            either of both, each asked alone: croniter has no list with W
    15W * FRI        either of both (crontab(5)): croniter would want both

Where their semantics differ from ours:

    step elsewhere   `10-50/20 2 * * *`, `5,*/30 2 * * *`. To cronsim, as to Debian's cron, these are fixed times, because
                     the field does not begin with `*`. To us a step is an interval wherever it stands, and goes by what
                     the clock shows: whoever writes a step wants it kept, and not three runs moved into one minute. So
                     cronsim is asked in six fields, seconds first, for which it has no special days. None is skipped.
    second pass      A fixed time asked for in the second of two hours of one name. cronsim forgets which of the two it
                     is in, and may answer with an instant of the first, before the one that was asked about. Those
                     answers are passed over: the next one is later than the instant, by definition. None is skipped.
    hour by hour     An interval where a clock is changed at another time than on the hour, or by another time than
                     hours (Lord Howe, Chatham). cronsim steps an interval from hour to hour of elapsed time, so that from
                     then on it looks at 03:30, 04:30 and leaves 03:00 out, or never ends. A clock does show 03:00.
                     Skipped where such a change is less than three days away, or for certain days, which may be far, later.
    no midnight      An interval on certain days, where a change leaves out the midnight of a day. cronsim goes to that
                     midnight first, and may answer with it although no clock shows it. Skipped where such a change lies
                     between the instant and the answer, or two days beside them.
    no such day      `31W` in a month of 30 days. To croniter that is the weekday nearest to the 30th, to us and to croner
                     there is none, as there is no 31st. Skipped: 29W, 30W and 31W, unless all the months named have it.
"""

import bisect
import os
import random
import re
import subprocess
import sys
import venv
from datetime import datetime, timedelta, timezone
from multiprocessing import Pool

DIRECTORY = "/usr/share/zoneinfo"
# Two libraries and what croniter needs.
PACKAGES = ["cronsim==2.8", "croniter==7.0.0", "python-dateutil==4.0.0", "tzdata==2026.6"]


def restart_with_packages():
    place = os.path.join(os.path.dirname(os.path.abspath(sys.argv[1])), "venv")
    python = os.path.join(place, "bin", "python")
    venv.create(place, with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    subprocess.run(pip + PACKAGES, check=True)
    # zoneinfo would rather have its own data than none; it is to have the system's.
    os.execve(python, [python, *sys.argv], os.environ | {"AGENTD_PACKAGES": "installed", "PYTHONTZPATH": DIRECTORY})


if os.environ.get("AGENTD_PACKAGES") != "installed":
    restart_with_packages()

import zoneinfo  # noqa: E402

from croniter import CroniterBadDateError, croniter  # noqa: E402
from cronsim import CronSim, CronSimError  # noqa: E402

SEED = 20260329
TRIPLES = 106_000
# At least so many have to be left, and of no class may more be skipped.
COMPARED = 100_000
SKIPPED = 1_000
BATCHES = 60
UTC = timezone.utc
FIRST, LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2020, 2041))
DAY = 86_400
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
MACROS = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"]


# MARK: zones


def zone_names():
    for folder, folders, files in os.walk(DIRECTORY):
        if folder == DIRECTORY:
            folders[:] = [name for name in folders if name not in ("posix", "right")]
        for file in files:
            path = os.path.join(folder, file)
            name = os.path.relpath(path, DIRECTORY)
            with open(path, "rb") as content:
                if content.read(4) == b"TZif" and name not in ("posixrules", "localtime"):
                    yield name


class Zone:
    """A zone and its changes: (first second, seconds ahead before, seconds ahead after)."""

    known = {}

    def __init__(self, name):
        self.info = zoneinfo.ZoneInfo(name)
        self.changes = list(self.read(FIRST - 3 * DAY, LAST + 50 * 366 * DAY))
        self.seconds = [change[0] for change in self.changes]

    @classmethod
    def named(cls, name):
        if name not in cls.known:
            cls.known[name] = cls(name)
        return cls.known[name]

    def ahead(self, second):
        return int(datetime.fromtimestamp(second, self.info).utcoffset().total_seconds())

    def read(self, first, last):
        # From 2020 on no zone takes back a change in less than a week.
        step = 4 * DAY
        before = self.ahead(first)
        for second in range(first + step, last, step):
            after = self.ahead(second)
            if after != before:
                low, high = second - step, second
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (middle, high) if self.ahead(middle) == before else (low, middle)
                yield high, before, after
                before = after

    def between(self, first, last):
        return self.changes[bisect.bisect_left(self.seconds, first) : bisect.bisect_right(self.seconds, last)]


# MARK: triples


def plain(values, names=()):
    """A list of numbers, ranges and steps."""

    # A step is not longer than the field, and 0 and 7 are one day.
    longest = 7 if len(values) == 8 else len(values)

    def one():
        low, high = sorted(random.choices(values, k=2))
        text = lambda value: random.choice([str(value), names[value - values[0]]]) if names else str(value)
        return random.choice(
            [text(low)] * 4
            + [f"{text(low)}-{text(high)}", f"{low}-{high}/{random.randint(1, longest)}"]
            + [f"*/{random.randint(1, longest)}"]
        )

    return ",".join(one() for _ in range(random.choice([1, 1, 1, 2, 3])))


def day_of_month():
    return random.choice(
        ["*"] * 6
        + [plain(range(1, 32))] * 3
        + ["L", "LW", "L,15", "1,LW", f"{random.randint(1, 31)}W", f"{random.randint(1, 28)}W", "1W,L", "*/2", "*/28"]
    )


def day_of_week():
    day, other = sorted(random.choices(range(7), k=2))
    return random.choice(
        ["*"] * 6
        + [plain(range(0, 8)), plain(range(0, 7), WEEKDAYS)]
        + [f"{WEEKDAYS[day]}#{random.randint(1, 5)}", f"{day}#{random.randint(1, 5)}", f"{day}L", f"{WEEKDAYS[day]}L"]
        + [f"{WEEKDAYS[day]}#L", f"{day}-{other}#{random.randint(1, 5)}", f"{day}-{other}L", "7", "0,7", "MON-FRI"]
        + [f"{WEEKDAYS[max(day, 1)]}-SUN", f"*/{random.randint(1, 7)}", f"{day}#1,{other}L"]
    )


def fixed(values):
    """Neither `*` nor a step."""
    low, high = sorted(random.choices(values, k=2))
    return random.choice([str(low)] * 3 + [f"{low},{high}", f"{low}-{high}", f"{low},{high},{random.choice(values)}"])


RARE = """
29 2 *;29 2 */7;* 2 1#5;* 2 FRI#5;*/28 2 3#5;29W 2 *;* 3 SUNL;* 3 SUN#2;* 11 SUN#1;* 10 SUNL;31 3 */7;LW 2 */6;* 4 FRI#L
31 12 SAT;1 1 *;15W 2 */5;*/30 * SUNL;L 2 *;* 9 SUN#1
""".strip().replace("\n", ";").split(";")


def expression(hour):
    """An expression; one in two has hours around `hour`."""
    kind = random.random()
    if kind < 0.03:
        return random.choice(MACROS)
    hours = range(24) if random.random() < 0.5 else [(hour + step) % 24 for step in (-1, 0, 0, 0, 1)]
    if kind < 0.45:
        time = f"{fixed(range(60))} {fixed(hours)}"
    elif kind < 0.65:
        step = random.choice([2, 5, 10, 15, 20, 30, 45])
        time = random.choice([f"*/{step}", f"{random.randint(0, 59)}", f"0-59/{step}", f"7,*/{step}", "*"])
        time += " " + random.choice([str(random.choice(hours)), "*", "*/2", "*/3", "0-23/6", fixed(hours)])
    else:
        time = f"{plain(range(60))} {plain(hours)}" if hours == range(24) else f"{plain(range(60))} {fixed(hours)}"
    if kind > 0.95:
        return f"{time} {random.choice(RARE)}"
    if random.random() < 0.45:
        return f"{time} * * *"
    month = random.choice(["*"] * 5 + [plain(range(1, 13)), plain(range(1, 13), MONTHS), "JAN-JUN", "3,10"])
    return f"{time} {day_of_month()} {month} {day_of_week()}"


def instant(zone):
    """An instant and an hour of the clock that something may happen in."""
    changes = zone.between(FIRST, LAST)
    if not changes or random.random() < 0.3:
        return random.randrange(FIRST, LAST), random.randrange(24)
    second, before, after = random.choice(changes)
    hour = (second + random.choice([before, after, min(before, after) + 1800])) // 3600 % 24
    far = random.choice([3 * DAY, DAY, 7200, 3600, 1800, 60, 1])
    return second + random.randint(-far, far), hour


# MARK: the answers of others


class Unable(Exception):
    """A class of triples for which the others mean something else."""


def fields_of(text):
    """Five fields: croniter knows what a macro stands for."""
    if not text.startswith("@"):
        return text.split()
    return [",".join(str(value) for value in values) for values in croniter.expand(text)[0]]


def without_single_ranges(field):
    """3-3/2 is 3, and so is MAR-3."""

    def value(text):
        return MONTHS.index(text) + 1 if text in MONTHS else text if text == "*" else int(text)

    def one(item):
        match = re.fullmatch(r"(\w+)-(\w+?)(/\d+)?", item)
        return match[1] if match and value(match[1]) == value(match[2]) else item

    return ",".join(one(item) for item in field.split(","))


def day_of_week_notation(field):
    """Our weekdays in cronsim's notation."""

    def one(item):
        for index, name in enumerate(WEEKDAYS):
            item = item.replace(name, str(index))
        if re.fullmatch(r"[1-6]-0.*", item):
            item = item[0] + "-7" + item[3:]
        match = re.fullmatch(r"(\d)(?:-(\d))?(?:#?(L)|#(\d))", item)
        if not match:
            return item
        first, last, end, number = match.groups()
        return ",".join(f"{day}{'L' if end else '#' + number}" for day in range(int(first), int(last or first) + 1))

    return ",".join(one(item) for item in field.upper().split(","))


def notation_of_others(fields):
    return [without_single_ranges(field) for field in fields[:4] + [day_of_week_notation(fields[4])]]


def cronsim_next(fields, zone, second, is_interval):
    is_interval_to_cronsim = fields[0].startswith("*") or fields[1].startswith("*")
    words = (["0"] if is_interval and not is_interval_to_cronsim else []) + fields
    for answer in CronSim(" ".join(words), datetime.fromtimestamp(second, zone.info)):
        # Past what it says of the first pass, when asked in the second.
        if answer.timestamp() > second:
            return int(answer.timestamp())
    return None


def days_in(month):
    return 28 if month == 2 else 30 if month in (4, 6, 9, 11) else 31


def nearest_weekday_next(fields, zone, second, is_interval):
    """The next occurrence of an expression whose day-of-month is a form like 15W and nothing else."""
    minute, hour, day, month, weekday = fields
    named = croniter.expand(f"0 0 * {month} *")[0][3]
    months = range(1, 13) if named == ["*"] else named
    if any(int(day[:-1]) > days_in(number) for number in months):
        raise Unable("no such day")
    # A day before, as a time of the day before may be moved over midnight.
    local = datetime.fromtimestamp(second - DAY, zone.info).replace(tzinfo=None)
    dates = croniter(f"0 0 {day} {month} {weekday}", local - timedelta(days=1), implement_cron_bug=True)
    while True:
        try:
            date = dates.get_next(datetime)
        except CroniterBadDateError:
            return None
        begin = int((date - timedelta(hours=12)).replace(tzinfo=zone.info).timestamp())
        own = [minute, hour, str(date.day), str(date.month), "*"]
        answer = cronsim_next(own, zone, max(second, begin), is_interval)
        # What is not of this date is of its name in another year.
        if answer is not None and answer < begin + 3 * DAY:
            return answer


def answer_of_others(text, zone, second):
    fields = fields_of(text)
    is_interval = any(sign in fields[0] + fields[1] for sign in "*/")
    fields = notation_of_others(fields)
    certain_days = fields[2:] != ["*", "*", "*"]
    # Before cronsim is asked: it may not come back.
    for change, before, after in zone.between(second - 3 * DAY, LAST if certain_days else second + 3 * DAY):
        if is_interval and ((change + before) % 3600 or (change + after) % 3600):
            raise Unable("hour by hour")
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    alone = [item for item in fields[2].split(",") if re.fullmatch(r"\d+W", item)]
    others = ",".join(item for item in fields[2].split(",") if item not in alone)
    weekday = "*" if either else fields[4]
    answers = [nearest_weekday_next(fields[:2] + [day, fields[3], weekday], zone, second, is_interval) for day in alone]
    if not alone:
        answers.append(cronsim_next(fields, zone, second, is_interval))
    else:
        if others:
            answers.append(cronsim_next(fields[:2] + [others, fields[3], weekday], zone, second, is_interval))
        if either:
            answers.append(cronsim_next(fields[:2] + ["*"] + fields[3:], zone, second, is_interval))
    found = [answer for answer in answers if answer is not None]
    answer = min(found) if found else None
    if is_interval and certain_days:
        for change, before, after in zone.between(second - 2 * DAY, (answer or LAST) + 2 * DAY):
            if after > before and (change + after - 1) // DAY != (change + before - 1) // DAY:
                raise Unable("no midnight")
    return answer


def can_fire(text):
    """Whether there is any day on which the expression fires."""
    fields = notation_of_others(fields_of(text))
    fields[2] = re.sub(r"(\d+)W", lambda day: "28" if int(day[1]) > 28 else day[1], fields[2])
    try:
        next(CronSim(" ".join(["0", "0"] + fields[2:]), datetime(2020, 1, 1)))
    except (StopIteration, CronSimError):
        return False
    return True


def batch(job):
    seed, names = job
    random.seed(seed)
    lines, skipped = [], {}
    while len(lines) + sum(skipped.values()) < TRIPLES / BATCHES:
        name = random.choice(names)
        zone = Zone.named(name)
        second, hour = instant(zone)
        text = expression(hour)
        try:
            answer = answer_of_others(text, zone, second) if can_fire(text) else None
        except Unable as reason:
            skipped[str(reason)] = skipped.get(str(reason), 0) + 1
            continue
        lines.append(f"{text}\t{name}\t{second}\t{answer if answer is not None else '-'}\n")
    return lines, skipped


def main():
    names = sorted(zone_names())
    assert len(names) >= 400, f"{DIRECTORY} has {len(names)} zones only: install tzdata"
    # Each batch has zones of its own, so that every zone has its turn and is read once.
    jobs = [(SEED + index, names[index::BATCHES]) for index in range(BATCHES)]
    total, classes = 0, {}
    with Pool() as pool, open(sys.argv[1], "w") as file:
        for lines, skipped in pool.imap(batch, jobs):
            file.writelines(lines)
            total += len(lines)
            for reason, count in skipped.items():
                classes[reason] = classes.get(reason, 0) + count
    for reason, count in sorted(classes.items()):
        print(f"skipped {count}: {reason}")
    print(f"{total} triples of {len(names)} zones")
    assert total >= COMPARED and max(classes.values(), default=0) <= SKIPPED


if __name__ == "__main__":
    main()
